"""Pages for people: everything is shown, links lead on, and nothing that a user wrote becomes markup or script."""

import re

from lxml import html as lxml_html
from occi_examples import COMPUTE, MACHINE, MODEL, STOP, interface

from renderers.occi.html import (
    render_categories_html,
    render_collection_html,
    render_entity_html,
    render_error_html,
)
from renderers.occi.representation import CategoryClass, LinkEnd, Resource, SentCategory
from renderers.occi.text import parse_text

HOSTILE = "<script>alert(1)</script>\"'>"


def test_an_entity_shows_its_attributes_links_and_actions() -> None:
    page = lxml_html.document_fromstring(render_entity_html(MACHINE, "altostratus"))
    assert page.findtext(".//h1") == MACHINE.title
    assert set(page.xpath("//tbody/tr/th/text()")) >= MACHINE.attributes.keys()
    assert {"/networkinterface/1", "/network/2"} <= set(page.xpath("//a/@href"))
    assert page.xpath("//form/@action") == ["/compute/1?action=stop"]
    assert page.xpath("//button/text()") == ["Stop"]


def test_an_actions_form_posts_what_a_client_of_text_plain_would() -> None:
    page = lxml_html.document_fromstring(render_entity_html(MACHINE))
    (form,) = page.forms
    assert (form.method, form.get("enctype")) == ("POST", "text/plain")
    body = "".join(f"{name}={value}\r\n" for name, value in form.fields.items())
    assert parse_text(body).categories == (SentCategory(STOP, CategoryClass.ACTION),)


def test_a_link_leads_to_its_ends() -> None:
    page = lxml_html.document_fromstring(render_entity_html(interface(1)))
    assert {"/compute/1", "/network/1"} <= set(page.xpath("//a/@href"))


def test_a_collection_leads_to_its_members_and_pages() -> None:
    rendered = render_collection_html([MACHINE], "Machines", path="/compute/", next_page="/compute/?page=2")
    links = lxml_html.document_fromstring(rendered).xpath("//main//a/@href")
    assert links == ["/compute/1", "/compute/?page=2"]
    assert "nothing here yet" in render_collection_html([], "Machines")


def test_the_query_interface_shows_every_category_and_attribute() -> None:
    page = render_categories_html(MODEL)
    for category in MODEL:
        assert str(category.id) in page
        assert all(attribute.name in page for attribute in category.attributes)


def test_what_users_write_is_never_markup() -> None:
    resource = Resource(
        COMPUTE, HOSTILE, "/compute/1", HOSTILE, HOSTILE, attributes={"a.b": HOSTILE, "c.state": HOSTILE}
    )
    for page in (
        render_entity_html(resource),
        render_collection_html([resource], HOSTILE),
        render_error_html(HOSTILE, HOSTILE),
    ):
        assert "<script" not in page


def test_a_link_to_a_script_is_not_followable() -> None:
    link = interface(1)
    hostile = type(link)(
        link.kind, "1", "/l/1", LinkEnd("//evil.example/"), LinkEnd("javascript:alert(1)"), attributes={}
    )
    page = render_entity_html(hostile)
    assert not re.search(r'href="(javascript|//)', page)
    assert "javascript:alert(1)" in page


def test_pages_need_nothing_from_elsewhere() -> None:
    page = lxml_html.document_fromstring(render_error_html("404 Not Found", "line 1\n    ^"))
    assert page.xpath("//script | //link | //img") == []
    assert page.get("lang") == "en"
    assert page.findtext(".//pre") == "line 1\n    ^"
