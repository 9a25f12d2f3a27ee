"""UTF8=ACCEPT and IMAP4rev2 with imaplib; argv: mode port cert."""
import imaplib, ssl, sys

mode, port, cert = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=cert)


def connect():
    if mode == "tls":
        m = imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=20)
    else:
        m = imaplib.IMAP4("localhost", port, timeout=20)
        if mode == "starttls":
            assert m.starttls(context)[0] == "OK"
    words = m.capabilities
    assert "IMAP4REV2" in words and "IMAP4REV1" in words, words
    ok(m.login("u1", "pass"))
    return m


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


m = connect()
ok(m.enable("UTF8=ACCEPT"))
ok(m.create('"Entwürfe"'))
ok(m.subscribe('"Entwürfe"'))
assert '"Entwürfe"' in " ".join(line.decode() for line in ok(m.list())), m.list()
assert '() "." "Entwürfe"'.encode() in ok(m.lsub()), m.lsub()
ok(m.select('"Entwürfe"'))
try:
    m._simple_command("SEARCH", "CHARSET", "UTF-8", "ALL")  # search() refuses it by itself
    raise AssertionError("CHARSET was taken")
except imaplib.IMAP4.error as e:
    assert "CHARSET" in str(e), e
assert m.logout()[0] == "BYE"

m = connect()  # another client knows the name in modified UTF-7
assert b"Entw&APw-rfe" in b" ".join(ok(m.list())), m.list()
for n in range(3):
    ok(m.append("Entw&APw-rfe", None, None, b"Subject: %d\r\n\r\nx\r\n" % n))
refused = m.append("INBOX", None, None, "Subject: ü\r\n\r\nx\r\n".encode())
assert refused[0] == "NO" and b"UTF8=ACCEPT" in refused[1][0], refused
m.logout()

m = connect()
ok(m.xatom("ENABLE", "IMAP4rev2"))
assert m.response("ENABLED")[1][-1] == b"IMAP4rev2"
m._encoding = "utf-8"
assert ok(m.select('"Entwürfe"')) == [b"3"]
assert m.untagged_responses.get("RECENT") is None, m.untagged_responses
assert "Entwürfe".encode() in m.response("LIST")[1][0]
tag = m._new_tag()
m.send(tag + b" UID SEARCH ALL\r\n")
assert m.readline() == b'* ESEARCH (TAG "' + tag + b'") UID ALL 1:3\r\n'
assert m.readline().startswith(tag + b" OK")
assert m.logout()[0] == "BYE"
