"""Puts the CDMI front-end into a Falcon application: from a request to the resource and the operation it is about."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import falcon

from backends.cloud.versions import refuse_version
from backends.errors import Conflict, Invalid, NotFound
from backends.objects import Address, Found, ObjectKind, Referred
from cdmi_server import (
    container,
    dataobject,
    disk_value,
    disk_views,
    disks,
    domains,
    exports,
    multipart,
    objectid,
    plain,
    presentation,
    queue,
    relocation,
    serialization,
)
from cdmi_server.call import Call
from cdmi_server.capabilities import Capabilities
from cdmi_server.errors import answer_error
from cdmi_server.negotiation import (
    ROOTS,
    Profile,
    answer_profile,
    check_content_type,
    media_type,
    request_profile,
)
from cdmi_server.paths import escaped, parse_place, split_root
from cdmi_server.presentation import Presentation
from cdmi_server.site import Site
from renderers.cdmi.representation import CONTAINER, DATAOBJECT, QUEUE, CdmiError, Version

MODULES = (
    container, dataobject, disk_value, disk_views, domains, exports, multipart, objectid, presentation, queue,
    relocation, serialization,
)  # fmt: skip
"""Each claims the capabilities that it has."""
CREATORS: dict[str, Callable[[Call, Address, dict[str, Any]], None]] = {
    CONTAINER: container.create,
    DATAOBJECT: dataobject.create,
    QUEUE: queue.create,
}
ROOT_PATTERN = r"/cdmi(?:/|$)"
URL_CHARACTERS = "/~!$&'()*+,;=:@-._?#[]%"
"""What stays as it is in a URL that may have its escapes already."""
METHODS = "GET, HEAD, PUT, PATCH, POST, DELETE"
READING_METHODS = "GET, HEAD"


def add_cdmi(app: falcon.App[Any, Any], site: Site) -> None:
    """Serve CDMI below /cdmi/. `req.context.cloud` must hold the caller's `backends.cloud.Cloud`."""
    app.add_sink(Tree(site).sink, ROOT_PATTERN)


class Tree:
    """Every path below the root."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._capabilities = Capabilities(site, [claim for module in MODULES for claim in module.CLAIMS])

    def sink(self, req: falcon.Request, resp: falcon.Response, **_: object) -> None:
        """Falcon calls it by these names."""
        request, response = req, resp
        try:
            self._answer(request, response)
        except falcon.HTTPStatus as status:
            response.status = status.status
            response.set_headers(status.headers or {})
        except Exception as error:  # noqa: BLE001 - the one place where all errors become answers
            answer_error(request, response, error)

    def _answer(self, request: falcon.Request, response: falcon.Response) -> None:
        version, rest = split_root(_path(request))
        call = Call(request, response, self._site, version, parse_place(rest, self._site.enterprise_number))
        place = call.place
        replaces = version is Version.V2 and request.method == "PUT"
        call.cloud.present_with(Presentation(self._site, version, replaces=replaces))
        call.cloud.change_only_if(partial(plain.check_preconditions, call))
        response.set_header("Vary", "Accept")
        if request.method == "OPTIONS" and (place.is_pool or (place.capabilities, place.domains) != (None, None)):
            _answer_methods(call, "POST" if place.is_pool else READING_METHODS)
        elif place.capabilities is not None:
            self._capabilities.answer(call, place.capabilities)
        elif place.address.start is not None and self._capabilities.is_identity(place.address.start):
            self._capabilities.answer(call, place.address.names, place.address.start)
        elif place.is_pool:
            objectid.answer(call)
        elif (names := domains.names_of(call)) is not None:
            domains.answer(call, names)
        elif (names := disks.names_of(call)) is not None:
            disks.answer(call, names)
        else:
            try:
                _operate(call)
            except Referred as referred:
                _redirect(call, referred)


def _path(request: falcon.Request) -> str:
    try:
        return str(request.env["PATH_INFO"]).encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise CdmiError("the path is no UTF-8") from None


def _operate(call: Call) -> None:
    match call.request.method:
        case "GET" | "HEAD":
            _read(call)
        case "PUT":
            _put(call)
        case "PATCH" if call.version is Version.V2:
            _patch(call)
        case "POST":
            _post(call)
        case "DELETE":
            _delete(call)
        case "OPTIONS":
            _answer_methods(call, METHODS)
        case method:
            raise falcon.HTTPMethodNotAllowed([METHODS], description=f"{method[:20]} means nothing here.")


def _answer_methods(call: Call, methods: str) -> None:
    call.response.set_header("Allow", methods)
    call.response.status = falcon.HTTP_204


def _read(call: Call) -> None:
    is_cdmi = answer_profile(call.request, call.version) is Profile.CDMI
    if is_cdmi:
        call.check_version()
    # With the value, if it stands in the row: a small object is read by one query.
    found = call.cloud.find_object(call.place.address, valued=True)
    _check_slash(call, found)
    match found.object.kind, is_cdmi:
        case ObjectKind.CONTAINER, True:
            container.read(call, found)
        case ObjectKind.CONTAINER, False:
            plain.list_container(call, found)
        case ObjectKind.DATAOBJECT, True:
            dataobject.read(call, found)
        case ObjectKind.DATAOBJECT, False:
            plain.read_value(call, found)
        case _, True:
            queue.read(call, found)
        case _:
            raise Invalid("queues are read by CDMI only: expected Accept: application/cdmi-queue")
    if call.request.method == "GET":
        call.cloud.tell_of_read(found)


def _put(call: Call) -> None:
    existing = _existing(call)
    refuse_version(existing)
    if existing is None:
        plain.check_absent(call)
    if request_profile(call.request, call.version) is Profile.HTTP:
        if call.place.slash:
            _refuse_other_kind(existing, ObjectKind.CONTAINER)
            plain.make_container(call, existing)
        else:
            if existing is not None and existing.object.kind is ObjectKind.CONTAINER:
                raise Conflict(f"{existing.object.name!r} is a container: its URI ends in '/'")
            plain.write_value(call, existing)
        return
    call.check_version()
    if multipart.is_multipart(call.request) and not call.place.slash:
        _put_parts(call, existing)
        return
    given = media_type(call.request.env.get("CONTENT_TYPE", ""))
    wanted = given or (CONTAINER if call.place.slash else DATAOBJECT)
    if call.place.slash != (wanted == CONTAINER) and not (existing and call.place.address.start):
        raise Invalid(f"the body is {wanted}, and the URI {'ends' if call.place.slash else 'does not end'} in '/'")
    if existing is not None:
        _update(call, existing, wanted)
    else:
        _create(call, wanted)


def _put_parts(call: Call, existing: Found | None) -> None:
    _refuse_other_kind(existing, ObjectKind.DATAOBJECT)
    if existing is None:
        dataobject.answer_created(call, multipart.create(call, call.place.address))
    elif call.version is Version.V2:
        multipart.replace(call, existing)
        dataobject.answer_created(call, call.cloud.find_object(existing.address))
    else:
        multipart.update(call, existing)


def _create(call: Call, wanted: str) -> None:
    if wanted not in CREATORS:
        raise Invalid(f"Content-Type is {wanted[:100]!r}, of which nothing can be made here")
    check_content_type(call.request, wanted)
    CREATORS[wanted](call, call.place.address, call.read_object())


def _update(call: Call, existing: Found, wanted: str) -> None:
    whole = call.version is Version.V2 and call.request.method == "PUT"
    match existing.object.kind, wanted:
        case ObjectKind.CONTAINER, str() as given if given == CONTAINER:
            change = container.replace if whole else container.update
        case ObjectKind.DATAOBJECT, str() as given if given == DATAOBJECT:
            change = dataobject.replace if whole else dataobject.update
        case ObjectKind.QUEUE, str() as given if given == QUEUE:
            change = queue.update
        case kind, _:
            raise Invalid(f"the body is {wanted[:60]!r}, but at this URI is a {kind}")
    change(call, existing, call.read_object())


def _patch(call: Call) -> None:
    existing = call.cloud.find_object(call.place.address)
    refuse_version(existing)
    if request_profile(call.request, call.version) is Profile.HTTP:
        if call.request.get_header("Content-Range") is None:
            raise Invalid("PATCH of a value needs Content-Range: expected one such as bytes 0-99/*")
        plain.write_value(call, existing)
    elif multipart.is_multipart(call.request) and existing.object.kind is ObjectKind.DATAOBJECT:
        multipart.update(call, existing)
    else:
        _update(call, existing, media_type(call.request.env.get("CONTENT_TYPE", "")))


def _post(call: Call) -> None:
    found = call.cloud.find_object(call.place.address)
    if found.object.kind is ObjectKind.QUEUE:
        check_content_type(call.request, QUEUE)
        call.check_version()
        queue.enqueue(call, found, call.read_object())
        return
    if found.object.kind is not ObjectKind.CONTAINER:
        raise Invalid(f"POST goes to containers and queues, and this is a {found.object.kind}")
    _check_slash(call, found)
    if request_profile(call.request, call.version) is Profile.HTTP:
        plain.post_value(call, found)
        return
    call.check_version()
    if multipart.is_multipart(call.request):
        dataobject.answer_created(call, multipart.create(call, container.new_address(found)))
        return
    if media_type(call.request.env.get("CONTENT_TYPE", "")) == QUEUE:
        queue.create(call, container.new_address(found), call.read_object())
        return
    check_content_type(call.request, DATAOBJECT)
    dataobject.create(call, container.new_address(found), call.read_object())


def _delete(call: Call) -> None:
    found = call.cloud.find_itself(call.place.address)
    if call.selection and found.object.kind is ObjectKind.QUEUE:
        queue.dequeue(call, found)
        return
    if call.selection:
        raise Invalid("only values of queues can be deleted by fields of the URI")
    if found.object.kind is not ObjectKind.REFERENCE:
        _check_slash(call, found)
    call.cloud.delete_object(found)
    call.response.status = falcon.HTTP_204


def _existing(call: Call) -> Found | None:
    try:
        return call.cloud.find_object(call.place.address)
    except NotFound:
        if call.place.address.start is not None and not call.place.address.names:
            raise
        return None


def _check_slash(call: Call, found: Found) -> None:
    """301 to the container's own URI; by ID both forms are taken, since clients use both."""
    if found.object.kind is ObjectKind.CONTAINER:
        if not call.place.slash and not (call.place.address.start and not call.place.address.names):
            raise falcon.HTTPMovedPermanently(_own_url(call) + "/")
    elif call.place.slash:
        raise NotFound(f"there is no container {found.object.name!r}")


def _own_url(call: Call) -> str:
    request = call.request
    return request.prefix + escaped(_path(request))


def _refuse_other_kind(existing: Found | None, kind: ObjectKind) -> None:
    if existing is not None and existing.object.kind is not kind:
        raise Conflict(f"there is a {existing.object.kind} of this name")


def _redirect(call: Call, referred: Referred) -> None:
    """302 to where the reference points (its URI may be relative to the root), with the rest of the way."""
    target = quote(referred.target, safe=URL_CHARACTERS)
    if "://" not in target:
        path, mark, asked = referred.target.partition("?")
        path = path if path.startswith(ROOTS[Version.V1]) else ROOTS[call.version] + path.lstrip("/")
        target = call.request.prefix + escaped(path) + mark + quote(asked, safe=URL_CHARACTERS)
    if referred.rest:
        target = target.rstrip("/") + "/" + escaped("/".join(referred.rest)) + ("/" if call.place.slash else "")
    query = call.request.query_string
    call.response.status = falcon.HTTP_302
    call.response.set_header("Location", target + (f"?{query}" if query else ""))
