"""/cdmi_objectid/ (1.1.1 §5.11): everything by its ID, and things that have nothing else."""

from __future__ import annotations

from backends.errors import Invalid
from cdmi_server import dataobject, plain
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, claims
from cdmi_server.negotiation import Profile, check_content_type, request_profile
from renderers.cdmi.representation import DATAOBJECT

CLAIMS = claims(SYSTEM, "cdmi_object_access_by_ID")


def answer(call: Call) -> None:
    """POST makes an object that only its ID leads to. What there is isn't listed."""
    if call.request.method != "POST":
        raise Invalid("/cdmi_objectid/ takes POST of new objects, and requests for objects by their IDs")
    if request_profile(call.request, call.version) is Profile.HTTP:
        plain.post_value(call, None)
        return
    call.check_version()
    check_content_type(call.request, DATAOBJECT)
    dataobject.create(call, None, call.read_object())
