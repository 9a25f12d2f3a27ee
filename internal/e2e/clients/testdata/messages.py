"""Large messages with any octets in them, parts decoded, put together and replaced; argv: mode port cert."""
import base64, hashlib, random, re, socket, ssl, sys

mode, port, cert = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=cert)


class Client:
    """imaplib knows no literal8: this one reads and writes them."""

    def __init__(self):
        self.sock = socket.create_connection(("localhost", port), timeout=20)
        if mode == "tls":
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")
        self.file.readline()
        if mode == "starttls":
            self.do(b"STARTTLS")
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
            self.file = self.sock.makefile("rb")
        self.do(b"LOGIN u1 pass")

    def response(self):
        """A response, its literals in a list of their own."""
        line, literals = b"", []
        while True:
            line += self.file.readline()
            m = re.search(rb"(~?)\{(\d+)\}\r\n$", line)
            if not m:
                assert line.endswith(b"\r\n"), line
                return line[:-2], literals
            literals.append((m[1] == b"~", self.file.read(int(m[2]))))

    def do(self, command):
        self.sock.sendall(b"a " + command + b"\r\n")
        out = []
        while True:
            line, literals = self.response()
            if line.startswith(b"a "):
                assert line.startswith(b"a OK"), line
                return line, out
            out.append((line, literals))

    def fetch(self, what):
        _, out = self.do(b"UID FETCH " + what)
        (line, literals), = [r for r in out if b" FETCH " in r[0]]
        return line, literals


def literal(p, binary=b""):
    return binary + b"{%d+}\r\n" % len(p) + p


noise = random.Random(1).randbytes(3_000_000)
assert b"\0" in noise
head = b"Subject: octets\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
# What is in the encoding "binary" is kept in base64: else a bare LF would become CRLF (a
# Maildir keeps mail in lines), and BODY could not show a NUL.
octets = head.replace(b"binary", b"base64") + base64.encodebytes(noise).replace(b"\n", b"\r\n")
part = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(noise).replace(b"\n", b"\r\n")

c = Client()
c.do(b"APPEND INBOX " + literal(head + noise, b"~"))
c.do(b"APPEND INBOX " + literal(part))
c.do(b"SELECT INBOX")

# As they were sent, whole and in pieces, and as they are kept.
size = re.search(rb"BINARY\.SIZE\[\] (\d+) BINARY\.SIZE\[1\] (\d+)", c.fetch(b"1 (BINARY.SIZE[] BINARY.SIZE[1])")[0])
assert int(size[1]) == len(octets) and int(size[2]) == len(noise), size
assert c.fetch(b"1 BINARY.PEEK[1]")[1] == [(True, noise)]
assert c.fetch(b"1 BINARY.PEEK[1]<1000000.1500000>")[1] == [(True, noise[1000000:][:1500000])]
assert c.fetch(b"1 BINARY.PEEK[]")[1] == [(False, octets)]
assert c.fetch(b"1 BODY.PEEK[]")[1] == [(False, octets)]
clean = max(noise.split(b"\0"), key=len)
at = noise.index(clean)

# Decoded, whole and in pieces.
assert c.fetch(b"2 (BINARY.SIZE[1])")[0].endswith(b"BINARY.SIZE[1] %d)" % len(noise))
assert c.fetch(b"2 BINARY.PEEK[1]")[1] == [(True, noise)]
assert c.fetch(b"2 BINARY.PEEK[1]<%d.%d>" % (at, len(clean)))[1] == [(False, clean)]
assert c.fetch(b"2 BINARY.PEEK[1]<2000000.2000000>")[1] == [(True, noise[2000000:])]

# Put together without being fetched, and replaced.
top = b'Subject: both\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
line, _ = c.do(b"APPEND INBOX (\\Draft) CATENATE (TEXT " + literal(top) + b' URL "/INBOX/;UID=2" TEXT ' + literal(b"--b\r\n") +
               b' URL ";UID=2" TEXT ' + literal(b"--b--\r\n") + b")")
assert b"APPENDUID" in line and line.split(b"]")[0].endswith(b" 3"), line
assert c.fetch(b"3 BODY.PEEK[]")[1] == [(False, top + part + b"--b\r\n" + part + b"--b--\r\n")]
line, out = c.do(b"UID REPLACE 3 INBOX CATENATE (URL ;UID=3/;SECTION=HEADER TEXT " + literal(b"--b\r\n") + b" URL ;UID=3/;SECTION=2.MIME URL ;UID=3/;SECTION=2 TEXT " + literal(b"\r\n--b--\r\n") + b")")
assert any(b"APPENDUID" in r[0] for r in out) and any(b"EXPUNGE" in r[0] for r in out), out
assert c.fetch(b"4 BINARY.PEEK[1]")[1] == [(True, noise)]
ids = [re.search(rb"EMAILID \((M[a-z2-7]{40})\)", c.fetch(b"%d EMAILID" % uid)[0])[1] for uid in (1, 2, 4)]
digest = base64.b32encode(hashlib.sha256(octets).digest()[:25]).lower()
assert len(set(ids)) == 3 and ids[0] == b"M" + digest, ids
c.do(b"LOGOUT")
