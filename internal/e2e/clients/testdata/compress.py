"""Speaks to the server compressed, flushed in each of zlib's ways; argv: mode port cert."""
import imaplib, random, ssl, sys, zlib

mode, port, cert = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=cert)


def connect():
    if mode == "tls":
        m = imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=20)
    else:
        m = imaplib.IMAP4("localhost", port, timeout=20)
        if mode == "starttls":
            assert m.starttls(context)[0] == "OK"
    ok(m.login("u1", "pass"))
    return m


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def compress(m, kind):
    """Puts zlib between imaplib and its socket, from the OK on."""
    ok(m.xatom("COMPRESS", "DEFLATE"))
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    unpacker = zlib.decompressobj(-15)
    waiting = bytearray()

    def fill():
        p = m.sock.recv(5000)
        assert p, "the server closed the connection"
        waiting.extend(unpacker.decompress(p))

    def take(n):
        p = bytes(waiting[:n])
        del waiting[:n]
        return p

    def read(n):
        while len(waiting) < n:
            fill()
        return take(n)

    def readline():
        while b"\n" not in waiting:
            fill()
        return take(waiting.index(b"\n") + 1)

    def send(p):
        m.sock.sendall(packer.compress(p) + packer.flush(kind))

    m.read, m.readline, m.send = read, readline, send


text = b"Subject: x\r\n\r\n" + b"".join(b"%d bottles of beer on the wall\r\n" % n for n in range(20000))
noise = b"Subject: y\r\n\r\n" + bytes(random.Random(1).choice(range(14, 256)) for _ in range(200000))
for round, kind in enumerate((zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH)):
    m = connect()
    words = ok(m.capability())[0].split()
    assert b"COMPRESS=DEFLATE" in words, words
    compress(m, kind)
    words = ok(m.capability())[0].split()
    assert b"COMPRESS=DEFLATE" not in words, words
    again = m.xatom("COMPRESS", "DEFLATE")
    assert again[0] == "NO" and b"COMPRESSIONACTIVE" in again[1][0], again
    for _ in range(30):  # each is answered before the next is sent
        ok(m.noop())
    for message in (text, noise):
        ok(m.append("INBOX", None, None, message))
    assert ok(m.select("INBOX")) == [b"%d" % (2 * round + 2)]
    for n, message in ((2 * round + 1, text), (2 * round + 2, noise)):
        data = ok(m.fetch(str(n), "(BODY.PEEK[])"))
        assert data[0][1] == message, (n, len(data[0][1]))
    other = connect()
    tag = m._new_tag()
    m.send(tag + b" IDLE\r\n")
    assert m.readline().startswith(b"+ ")
    ok(other.append("Sent", None, None, b"Subject: z\r\n\r\n"))
    ok(other.select("INBOX"))
    ok(other.store("1", "+FLAGS", (r"(\Flagged)", r"(\Answered)", r"(\Draft)")[round]))
    assert b" FETCH (" in m.readline()
    m.send(b"DONE\r\n")
    assert m.readline().startswith(tag + b" OK")
    other.logout()
    assert m.logout()[0] == "BYE"
