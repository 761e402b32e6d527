"""Domains: that they are there where they are claimed, and not where they aren't."""

from __future__ import annotations

from conformance.cdmi.fields import MEDIA_TYPES, document
from conformance.cdmi.server import GONE, Server, check
from conformance.suite import NotApplicable, expect, require


@check("domains/absent", "12.1.1", "12.2.7", "Without domains no answer has a domainURI.")
def absent(server: Server) -> None:
    unclaimed(server)
    require("domainURI" not in server.look(server.home.url, "container"), "a container has a domainURI")
    if server.claims(server.home.fields, "cdmi_create_dataobject"):
        made = server.new_object()
        require("domainURI" not in made.fields, "a new data object has a domainURI")


@check("domains/absent-tree", "12.1.1", "12.2.7", "Nor is there cdmi_domains/.")
def absent_tree(server: Server) -> None:
    unclaimed(server)
    answer = server.get(f"{server.root}cdmi_domains/", "domain")
    expect(answer, {400, *GONE}, "cdmi_domains/ where domains are not claimed")


def unclaimed(server: Server) -> None:
    if server.claims(None, "cdmi_domains"):
        raise NotApplicable("the server claims cdmi_domains")


@check("domains/uri", "8.2.7, 9.2.7", "8.3.7, 9.3.7", "With domains every object has a domainURI that leads to one.")
def uri(server: Server) -> None:
    server.needs_system("cdmi_domains")
    for fields in (server.look(server.home.url, "container"), server.new_object().fields):
        require("domainURI" in fields, f"{fields['objectName']} has no domainURI")
        answer = server.follow(fields["domainURI"], "domain")
        expect(answer, {200}, f"the domainURI {fields['domainURI']}")


@check("domains/read", "10.3.5, 10.3.6", "10.6.5, 10.6.6", "A domain has all mandatory fields.")
def read(server: Server) -> None:
    server.needs_system("cdmi_domains")
    answer = server.follow(server.look(server.home.url, "container")["domainURI"], "domain")
    expect(answer, {200}, "the domain of a container")
    require(answer.media_type == MEDIA_TYPES["domain"], f"Content-Type is {answer.media_type!r}", answer)
    wanted = ("objectType", "objectID", "objectName", "parentURI", "domainURI", "capabilitiesURI", "metadata")
    missing = [name for name in wanted if name not in document(answer)]
    require(not missing, f"the domain lacks {', '.join(missing)}", answer)
