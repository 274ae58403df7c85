"""The chat of the window speaks each engine's dialect."""

import json

from pytestqt.qtbot import QtBot
from tests.services.chat.chat_servers import OddServer, odd, stream

from splitrig.bridge.chat import ChatBridge
from splitrig.bridge.pump import Pump
from splitrig.core.chat import ChatOptions, Message, Role
from splitrig.core.engine import Dialect
from splitrig.services.chat.client import ChatClient
from splitrig.services.mailbox import Mailbox

__all__ = ["odd"]
ASK = [Message(Role.USER, "Hello")]
LINE = b'{"message":{"content":"Hi"},"done":true,"done_reason":"stop"}\n'


def test_model_dialect_and_options_reach_the_engine(odd: OddServer, qtbot: QtBot) -> None:
    odd.script = stream(LINE)
    mailbox = Mailbox()
    pump, client = Pump(mailbox), ChatClient(mailbox)
    chat = ChatBridge(pump, client)
    pump.start()
    try:
        chat.set_endpoint(
            odd.url, None, model="m:latest", dialect=Dialect.OLLAMA, load_options={"num_ctx": 512}
        )
        with qtbot.waitSignal(chat.answer_finished, timeout=5000) as finished:
            chat.send(ASK, ChatOptions(temperature=0.0))
        assert finished.args[0].text == "Hi"
        body = json.loads(odd.requests[0])
        assert (body["model"], body["options"]) == ("m:latest", {"num_ctx": 512, "temperature": 0})
        chat.set_endpoint(odd.url, "key")
        odd.script = stream(b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}')
        with qtbot.waitSignal(chat.answer_finished, timeout=5000) as finished:
            chat.send(ASK, ChatOptions())
        assert "model" not in json.loads(odd.requests[1])
        assert odd.headers[1]["Authorization"] == "Bearer key"
    finally:
        client.close()
        pump.stop()


def test_without_an_engine_the_question_is_refused(qtbot: QtBot) -> None:
    mailbox = Mailbox()
    client = ChatClient(mailbox)
    chat = ChatBridge(Pump(mailbox), client)
    with qtbot.waitSignal(chat.answer_failed, timeout=1000) as failed:
        chat.send(ASK, ChatOptions())
    assert failed.args[0].error.message == "No engine is running."
    client.close()
