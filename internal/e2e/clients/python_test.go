package clients

import (
	"path/filepath"
	"strconv"
	"testing"

	"rookery/internal/e2e/harness"
)

// python runs a script of testdata; it asserts by itself.
func python(t *testing.T, script string, m mode, d *harness.Demo, service string) {
	t.Helper()
	ok(t, "python3", filepath.Join("testdata", script), m.name, strconv.Itoa(d.Port(service)), d.Cert())
}

func TestPythonImaplib(t *testing.T) {
	harness.Need(t, "python3", "python3")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty")
			python(t, "imap.py", m, d, m.imap)
			text := "From: a@example.test\r\nTo: b@example.test\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n\r\nGrüße\r\n.\r\n>From here\r\n"
			there := text[:len(text)-len("here\r\n")] + "there\r\n"
			wantMessages(t, d.Maildir(1))
			wantMessages(t, filepath.Join(d.Maildir(1), ".Three Words"), kept{"FRS", text})
			wantMessages(t, filepath.Join(d.Maildir(1), ".&ANw-bung"), kept{"S", there})
		})
	}
}

// UTF-8 in names and headers, and IMAP4rev2, to a library that half knows them.
func TestPythonUTF8(t *testing.T) {
	harness.Need(t, "python3", "python3")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty")
			python(t, "utf8.py", m, d, m.imap)
		})
	}
}

// COMPRESS, behind login's TLS too, to a client whose zlib flushes in each way there is.
func TestPythonCompress(t *testing.T) {
	harness.Need(t, "python3", "python3")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty")
			python(t, "compress.py", m, d, m.imap)
		})
	}
}

func TestPythonPoplib(t *testing.T) {
	harness.Need(t, "python3", "python3")
	one, two := plainMail("one", "Hello.\n.\n..two\n"), plainMail("two", "Second.\n")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty")
			deliver(t, d, 1, "", "1000000001.M1P1.host", one)
			deliver(t, d, 1, "", "1000000002.M1P1.host", two)
			python(t, "pop3.py", m, d, m.pop3)
			wantMessages(t, d.Maildir(1), kept{"", two})
		})
	}
}
