"""Pages of containers: what they tell, and that what users wrote in them stays text."""

from __future__ import annotations

from lxml import html as lxml_html

from renderers.cdmi.html import About, Crumb, DiskRow, Export, Row, render_container, render_disks

HOSTILE = "<script>alert(1)</script>\"'&"


def test_whatever_users_wrote_is_text_on_the_page_of_a_container() -> None:
    about = About(HOSTILE, f"Error: {HOSTILE}", 0, [Export(HOSTILE, HOSTILE, [HOSTILE, HOSTILE])])
    rows = [Row(HOSTILE, "./x", HOSTILE, 1, HOSTILE, HOSTILE)]
    crumbs = [Crumb(HOSTILE, "/")]
    disks = [DiskRow(HOSTILE, "./x", 1, HOSTILE, [HOSTILE, HOSTILE], "./x/value")]
    for rendered, count in (
        (render_container(crumbs, rows, 1, None, about), 12),
        (render_disks(crumbs, disks, 1, None, about), 12),
    ):
        assert "<script" not in rendered
        assert lxml_html.document_fromstring(rendered).text_content().count(HOSTILE) == count


def test_the_page_tells_who_may_have_a_disk_and_of_its_size_and_state() -> None:
    shared = [Export("mine", "iSCSI", ["iqn.a", "iqn.b"]), Export("OCCI/iSCSI", "OCCI/iSCSI", [])]
    page = lxml_html.document_fromstring(
        render_container([Crumb("/", "/")], [], 0, None, About("00AB", "Processing", 2**30, shared))
    )
    told = {row.findtext("th"): row.findtext("td") for row in page.iter("tr")}
    assert told == {
        "Object ID": "00AB",
        "Status": "Processing",
        "Size": "1.0 GiB",
        "Export mine": "iSCSI, permitted: iqn.a, iqn.b",
        "Export OCCI/iSCSI": "OCCI/iSCSI, permitted: nobody",
    }
