"""Reads and deletes mail with poplib; argv: mode port cert."""
import poplib, ssl, sys

mode, port, cert = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=cert)


def connect():
    if mode == "tls":
        return poplib.POP3_SSL("localhost", port, context=context, timeout=20)
    p = poplib.POP3("localhost", port, timeout=20)
    if mode == "starttls":
        assert "STLS" in p.capa()
        p.stls(context)
        assert "STLS" not in p.capa()
    return p


def fails(f, *args):
    try:
        f(*args)
    except poplib.error_proto as e:
        return str(e)
    raise AssertionError("%r was taken" % (args,))


p = connect()
assert "UIDL" in p.capa() and "TOP" in p.capa(), p.capa()
p.user("u1")
assert "[AUTH]" in fails(p.pass_, "wrong")
p.apop("u1", "pass")  # the connection lives on, and its timestamp holds
count, size = p.stat()
assert count == 2, count
lines = p.retr(1)[1]
assert lines == [b"From: Ann <ann@example.test>", b"To: u1@example.test", b"Subject: one", b"Date: Mon, 02 Mar 2026 10:00:00 +0000",
                 b"Message-ID: <one@example.test>", b"", b"Hello.", b".", b"..two"], lines
assert size == sum(int(line.split()[1]) for line in p.list()[1])
assert int(p.list(1).split()[2]) == sum(len(line) + 2 for line in lines)
assert p.top(1, 1)[1] == lines[:7]
uidl = [line.split()[1] for line in p.uidl()[1]]
assert len(set(uidl)) == 2
p.dele(1)
assert "deleted" in fails(p.retr, 1).lower()
p.rset()
assert p.stat() == (count, size)
p.dele(1)
p.noop()
p.quit()

p = connect()
p.user("u1@example.test")
p.pass_("pass")
assert [line.split()[1] for line in p.uidl()[1]] == uidl[1:]
assert p.stat()[0] == 1
p.close()  # without QUIT nothing is deleted
