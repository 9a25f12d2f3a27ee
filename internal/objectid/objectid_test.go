package objectid

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// The identifier is the prefix and base32 of the hash's first 200 bits.
func TestForm(t *testing.T) {
	msg := []byte("Subject: x\r\n\r\nbody\r\n")
	sum := sha256.Sum256(msg)
	want := "M" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:25]))
	if len(want) != Len {
		t.Fatalf("%d characters", len(want))
	}
	if got := string(AppendEmail(nil, msg)); got != want {
		t.Errorf("AppendEmail: %s, want %s", got, want)
	}
	got, err := Email(iotest.OneByteReader(bytes.NewReader(msg)))
	if err != nil || got != want {
		t.Errorf("Email: %s, %v, want %s", got, err, want)
	}
	var h EmailHash
	for range 2 { // it begins anew
		for _, b := range msg {
			h.Write([]byte{b})
		}
		if got := string(h.Append([]byte("x"))); got != "x"+want {
			t.Errorf("EmailHash: %s, want x%s", got, want)
		}
	}
	if got := string(h.Append(nil)); got != string(AppendEmail(nil, nil)) {
		t.Errorf("nothing written: %s", got)
	}
}

func TestEmailError(t *testing.T) {
	broken := errors.New("broken")
	if id, err := Email(iotest.ErrReader(broken)); err != broken || id != "" {
		t.Errorf("%q, %v", id, err)
	}
}

// A thread is called after the first identifier that is there.
func TestThread(t *testing.T) {
	root, ok := Thread("", "", "<root@example.test>")
	if !ok || root[0] != 'T' || len(root) != Len {
		t.Fatalf("%q, %t", root, ok)
	}
	for _, same := range [][3]string{
		{"", "<root@example.test>", "<b@example.test>"},
		{"<root@example.test> <b@example.test>", "<b@example.test>", "<c@example.test>"},
		{"<root@example.test>\r\n <b@example.test>", "", ""},
		{"phrase <ro\r\n ot@example.test>", "", "<c@example.test>"},
		{"no identifier", "Your mail of Monday <root@example.test>", "<c@example.test>"},
		{"", "", `<"root"@example.test>`},
		{"", "", `<"r\oot"@example.test>`},
		{`<"root"@example.test>`, "", ""},
	} {
		if id, ok := Thread(same[0], same[1], same[2]); !ok || id != root {
			t.Errorf("%q: %s, %t", same, id, ok)
		}
	}
	for _, other := range [][3]string{
		{"<b@example.test> <root@example.test>", "", ""},
		{"<x@example.test>", "<root@example.test>", "<root@example.test>"},
		{"", "", "<Root@example.test>"}, // local parts keep their case
	} {
		if id, ok := Thread(other[0], other[1], other[2]); !ok || id == root {
			t.Errorf("%q: %s, %t", other, id, ok)
		}
	}
	if id, ok := Thread("", "in the afternoon", "none"); ok || id != "" {
		t.Errorf("no identifier: %q, %t", id, ok)
	}
	// RFC 8474 §5.2: no value is both an EMAILID and a THREADID.
	if email := string(AppendEmail(nil, []byte("root@example.test"))); email == root || email[1:] != root[1:] {
		t.Errorf("%s and %s", email, root)
	}
}

func FuzzThread(f *testing.F) {
	f.Add("<a@b> <c@d>", "<e@f>", "<g@h>")
	f.Add(`<"a\"`, "(<x>", "<\r\n>")
	f.Fuzz(func(t *testing.T, references, inReplyTo, messageID string) {
		id, ok := Thread(references, inReplyTo, messageID)
		if ok != (len(id) == Len) || strings.Trim(id, alphabet+"T") != "" {
			t.Errorf("%q, %t", id, ok)
		}
	})
}
