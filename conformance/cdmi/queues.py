"""Queues: values put in, read and taken out in order."""

from __future__ import annotations

from conformance.cdmi.fields import Fields, base64_of, document
from conformance.cdmi.server import GONE, MADE, Server, Thing, check
from conformance.suite import Exchange, expect, require

FIELDS = (
    "objectType", "objectID", "objectName", "parentURI", "parentID", "capabilitiesURI", "completionStatus", "metadata",
    "queueValues",
)  # fmt: skip


def queue(server: Server, *values: str) -> Thing:
    server.needs_system("cdmi_queues")
    server.needs("cdmi_create_queue")
    made = server.make("queue", {}, server.new_url(".queue"))
    if values:
        enqueue(server, made, {"value": list(values)})
    return made


def enqueue(server: Server, made: Thing, body: Fields) -> None:
    server.needs("cdmi_modify_value", of=made.fields)
    expect(put_in(server, made, body), {204}, "new values of a queue")


def put_in(server: Server, made: Thing, body: Fields) -> Exchange:
    return server.request("POST", made.url, content_type="queue", body=body)


@check("queues/create", "11.2.7, 11.2.8", "11.3.7, 11.3.8", "PUT makes a queue; its fields are answered.")
def create(server: Server) -> None:
    made = queue(server)
    missing = [name for name in FIELDS if name not in server.look(made.url, "queue")]
    require(not missing, f"the queue lacks {', '.join(missing)}")
    require(made.fields["objectType"] == "application/cdmi-queue", f"objectType is {made.fields['objectType']!r}")


@check("queues/empty", "11.3.6", "11.4.6", "queueValues of an empty queue is an empty string.")
def empty(server: Server) -> None:
    found = server.look(queue(server).url, "queue")["queueValues"]
    require(found == "", f"queueValues is {found!r}, expected an empty string")


@check("queues/enqueue", "11.6.7", "11.7.7", "POST puts values in: 204.")
def put_values(server: Server) -> None:
    made = queue(server, "one", "two")
    found = server.look(made.url, "queue")["queueValues"]
    require(found == "0-1", f"queueValues is {found!r}, expected '0-1'")


@check("queues/oldest", "11.1, 11.3.6", "11.2.3, 11.4.6", "Read, a queue shows its oldest value, in arrays of one.")
def oldest(server: Server) -> None:
    found = server.look(queue(server, "one", "two").url, "queue")
    require(found["value"] == ["one"], f"value is {found['value']!r}, expected ['one']")
    for name, wanted in (("mimetype", ["text/plain"]), ("valuerange", ["0-2"]), ("valuetransferencoding", ["utf-8"])):
        require(found[name] == wanted, f"{name} is {found[name]!r}, expected {wanted}")


@check("queues/several", "11.3.1", "11.4.1", "values:<count> reads several of the oldest.")
def several(server: Server) -> None:
    found = server.look(queue(server, "one", "two", "three").url, "queue", "values:2")
    require(found.get("value") == ["one", "two"], f"values:2 is answered {found}")


@check("queues/binary", "11.6.4", "11.7.4", "Values may be bytes in base64.")
def binary(server: Server) -> None:
    made = queue(server)
    sent = {"value": [base64_of(b"\0\xff")], "valuetransferencoding": ["base64"], "mimetype": ["Image/PNG"]}
    enqueue(server, made, sent)
    found = server.look(made.url, "queue")
    require(found["value"] == sent["value"], f"value is {found['value']!r}, expected {sent['value']}")
    require(found["mimetype"] == ["image/png"], f"mimetype is {found['mimetype']!r}, expected it in lower case")


@check("queues/dequeue", "11.7.7", "11.8.7", "DELETE ?value takes out the oldest: 204.")
def dequeue(server: Server) -> None:
    made = queue(server, "one", "two")
    expect(server.delete(made.url, "value"), {204}, "DELETE of a queue's oldest value")
    found = server.look(made.url, "queue")
    require(found["value"] == ["two"], f"value is {found['value']!r}, expected ['two']")
    require(found["queueValues"] == "1-1", f"queueValues is {found['queueValues']!r}, expected '1-1'")


@check("queues/dequeue-several", "11.7.1", "11.8.1", "DELETE ?values:<count> takes out as many, at most all.")
def dequeue_several(server: Server) -> None:
    made = queue(server, "one", "two", "three")
    expect(server.delete(made.url, "values:2"), {204}, "DELETE of two values")
    require(server.look(made.url, "queue")["value"] == ["three"], "it was not the two oldest that went")
    expect(server.delete(made.url, "values:9"), {204}, "DELETE of more values than there are")
    require(server.look(made.url, "queue")["queueValues"] == "", "the queue is not empty")


@check("queues/dequeue-range", "11.7.1", "11.8.1", "DELETE ?values:<range> takes out those, from the lowest on.")
def dequeue_range(server: Server) -> None:
    made = queue(server, "zero", "one", "two")
    expect(server.delete(made.url, "values:0-1"), {204}, "DELETE of values 0 to 1")
    expect(server.delete(made.url, "values:0-1"), {204, 400}, "DELETE of values that are gone")
    found = server.look(made.url, "queue")
    require(found["value"] == ["two"], f"value is {found['value']!r}, expected ['two']")


@check("queues/dequeue-middle", "11.7.1", "11.8.1", "A range that starts above the lowest value is answered 400.")
def dequeue_middle(server: Server) -> None:
    made = queue(server, "zero", "one", "two")
    expect(server.delete(made.url, "values:1-2"), {400}, "DELETE of values 1 to 2 while 0 is there")
    require(server.look(made.url, "queue")["queueValues"] == "0-2", "something was taken out all the same")


@check("queues/unequal", "11.6.4, 11.6.7", "11.7.4, 11.7.7", "Arrays of different lengths are answered 400.")
def unequal(server: Server) -> None:
    made = queue(server)
    server.needs("cdmi_modify_value", of=made.fields)
    for body in ({"value": ["a", "b"], "mimetype": ["text/plain"]}, {"value": "a"}):
        expect(put_in(server, made, dict(body)), {400}, f"the values {body}")


@check("queues/delete", "11.5.7", "11.6.7", "DELETE removes the queue with its values: 204.")
def delete(server: Server) -> None:
    made = queue(server, "one")
    expect(server.delete(made.url), {204}, "DELETE of a queue")
    expect(server.get(made.url, "queue"), GONE, "a deleted queue")


@check("queues/post", "9.7.6", "9.8.6", "POST to a container makes a queue and answers its Location.")
def post(server: Server) -> None:
    server.needs_system("cdmi_queues")
    server.needs("cdmi_post_queue", "cdmi_create_queue")
    answer = server.post(server.home.url, "queue", {})
    expect(answer, MADE, "a new queue by POST")
    require(answer.header("location").startswith("http"), "the answer has no absolute Location", answer)
    found = server.look(answer.header("location"), "queue")
    require(found["objectID"] == document(answer)["objectID"], "the Location leads to another queue", answer)
