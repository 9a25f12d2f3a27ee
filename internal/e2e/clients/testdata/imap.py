"""Reads, writes, moves and deletes mail with imaplib; argv: mode port cert."""
import imaplib, ssl, sys, time, email, re

mode, port, cert = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=cert)


def connect():
    if mode == "tls":
        return imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=20)
    m = imaplib.IMAP4("localhost", port, timeout=20)
    if mode == "starttls":
        assert m.starttls(context)[0] == "OK"
        assert "STARTTLS" not in m.capabilities, m.capabilities
    return m


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def fails(f, *args):
    try:
        f(*args)
    except imaplib.IMAP4.error as e:
        return str(e)
    raise AssertionError("%r was taken" % (args,))


# Each way that imaplib knows to log in.
for login in ("login", "cram", "plain"):
    m = connect()
    if login == "login":
        ok(m.login("u1", "pass"))
    elif login == "cram":
        ok(m.login_cram_md5("u1@example.test", "pass"))
    else:
        ok(m.authenticate("PLAIN", lambda challenge: b"\0u1\0pass"))
    ok(m.noop())
    assert m.logout()[0] == "BYE"
m = connect()
assert "AUTHENTICATIONFAILED" in fails(m.login, "u1", "wrong")
ok(m.login("u1", "pass"))  # the connection lives on
assert m.state == "AUTH"

text = (b"From: a@example.test\r\nTo: b@example.test\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n\r\n"
        b"Gr\xc3\xbc\xc3\x9fe\r\n.\r\n>From here\r\n")
when = time.struct_time((2026, 2, 3, 4, 5, 6, 1, 34, 0))
data = ok(m.append("INBOX", r"(\Flagged Label1)", imaplib.Time2Internaldate(time.mktime(when)), text))
assert re.match(rb"\[APPENDUID \d+ 1\]", data[0]), data
ok(m.append("INBOX", None, None, text.replace(b"here", b"there")))
ok(m.create("Two Words".join('""')))
ok(m.create('"Two Words.Child"'))
ok(m.create("&ANw-bung"))  # Übung
ok(m.subscribe('"Two Words"'))
names = sorted(re.search(rb'"\." "?([^"]*)"?$', line).group(1) for line in ok(m.list()))
assert names == [b"&ANw-bung", b"Drafts", b"INBOX", b"Junk", b"Sent", b"Trash", b"Two Words", b"Two Words.Child"], names
assert ok(m.lsub('""', '"Two*"')) == [b'() "." "Two Words"'], m.lsub('""', '"Two*"')

assert ok(m.select("INBOX")) == [b"2"]
assert m.response("UIDNEXT")[1] == [b"3"]
got = ok(m.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
assert got[0][1] == text, got
assert b"UID 1 " in got[0][0] and rb"FLAGS (\Flagged \Recent Label1)" in got[0][0], got[0][0]
assert time.mktime(imaplib.Internaldate2tuple(got[0][0])) == time.mktime(when), got[0][0]
assert email.message_from_bytes(got[0][1])["To"] == "b@example.test"
got = ok(m.uid("FETCH", "1:2", "(BODY.PEEK[HEADER.FIELDS (TO)] BODY[TEXT]<0.5>)"))
assert [part[1] for part in got if isinstance(part, tuple)] == [b"To: b@example.test\r\n\r\n", b"Gr\xc3\xbc\xc3"] * 2, got
assert ok(m.search(None, "FLAGGED")) == [b"1"]
assert ok(m.search(None, "SUBJECT", '"x"')) == [b""]
m.literal = "Grüße".encode()
assert ok(m.search("UTF-8", "SUBJECT")) == [b"1 2"]
m.literal = "größe".encode()
assert ok(m.search("UTF-8", "BODY")) == [b""]
assert ok(m.uid("SEARCH", "KEYWORD", "Label1")) == [b"1"]
ok(m.store("1", "+FLAGS", r"(\Answered)"))
ok(m.store("1", "-FLAGS.SILENT", r"(Label1)"))
assert ok(m.fetch("1", "FLAGS"))[0] == rb"1 (FLAGS (\Answered \Flagged \Seen \Recent))", m.fetch("1", "FLAGS")
ok(m.copy("1", '"Two Words"'))
ok(m.uid("MOVE", "2", "&ANw-bung"))
assert m.response("EXPUNGE")[1] == [b"2"]
assert ok(m.fetch("1:*", "UID")) == [b"1 (UID 1)"]
ok(m.store("1", "+FLAGS", r"\Deleted"))
assert ok(m.expunge()) == [b"1"]
ok(m.close())
assert ok(m.status('"Two Words"', "(MESSAGES UIDNEXT UNSEEN)")) == [b'"Two Words" (MESSAGES 1 UIDNEXT 2 UNSEEN 0)']
ok(m.rename('"Two Words"', '"Three Words"'))
assert ok(m.status('"Three Words.Child"', "(MESSAGES)")) == [b'"Three Words.Child" (MESSAGES 0)']
assert m.delete("NoSuch")[0] == "NO"
assert m.select("NoSuch")[0] == "NO"
ok(m.delete('"Three Words.Child"'))
assert ok(m.namespace()) == [b'(("" ".")) NIL NIL']
ok(m.select("&ANw-bung", readonly=True))
assert ok(m.fetch("1", "(RFC822)"))[0][1] == text.replace(b"here", b"there")
assert ok(m.fetch("1", "FLAGS"))[0] == rb"1 (FLAGS (\Seen \Recent))", m.fetch("1", "FLAGS")  # nobody was told of it yet (RFC 3501 §6.4.7)
assert m.logout()[0] == "BYE"
