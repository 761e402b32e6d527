"""Domains: that they are there where they are claimed, and not where they aren't."""

from __future__ import annotations

import json

from conformance.cdmi.fields import MEDIA_TYPES, document
from conformance.cdmi.server import GONE, MADE, Server, check
from conformance.suite import CheckFailed, NotApplicable, expect, require


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


@check("domains/summary", "10.1.2", "10.2", "A domain that claims it has a summary of all its time.")
def summary(server: Server) -> None:
    server.needs_system("cdmi_domains")
    uri = server.look(server.home.url, "container")["domainURI"]
    answer = server.follow(uri, "domain")
    expect(answer, {200}, "the domain of a container")
    server.needs("cdmi_domain_summary", of=document(answer))
    told = server.follow(f"{uri}cdmi_domain_summary/cumulative", "object")
    expect(told, {200}, "the cumulative summary of a domain")
    try:
        found = json.loads(document(told)["value"])
    except (KeyError, TypeError, ValueError):
        raise CheckFailed("the summary's value is no JSON text", told) from None
    wanted = ("cdmi_domainURI", "cdmi_summary_start", "cdmi_summary_end")
    missing = [name for name in wanted if name not in found]
    require(not missing, f"the summary lacks {', '.join(missing)}", told)


@check("domains/unclaimed-creation", "10.2.2", "10.5.3", "Without cdmi_create_domain none is made.")
def unclaimed_creation(server: Server) -> None:
    server.needs_system("cdmi_domains")
    uri = server.look(server.home.url, "container")["domainURI"]
    answer = server.follow(uri, "domain")
    expect(answer, {200}, "the domain of a container")
    if server.claims(document(answer), "cdmi_create_domain"):
        raise NotApplicable("the domain claims cdmi_create_domain")
    for url in server.resolved(uri):
        refused = server.put(f"{url}conformance/", "domain", {"metadata": {}})
        require(refused.status not in MADE, "a domain was made that can't be made", refused)
