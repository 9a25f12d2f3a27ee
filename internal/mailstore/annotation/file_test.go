package annotation

import (
	"bytes"
	"testing"

	"rookery/internal/mailstore"
)

// A file that is read can be written and read again, and gives the same bytes from
// then on.
func FuzzFile(f *testing.F) {
	b := newBook()
	f.Add(b.Encode())
	b.uses[mailstore.UseSent] = holder{}
	b.uses[mailstore.UseJunk] = holder{mailstore.GUID{1}, "Spam/x"}
	b.set(mailstore.GUID{}, "/private/a", []byte("x\x00\n"))
	b.set(mailstore.GUID{1}, "/private/b", []byte{})
	b.set(mailstore.GUID{1}, "/Private/c", []byte("y"))
	f.Add(b.Encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, data := range [][]byte{body, sealed(body)} {
			b, err := decode(data)
			if err != nil {
				continue
			}
			once := b.Encode()
			again, err := decode(once)
			if err != nil || !bytes.Equal(again.Encode(), once) {
				t.Fatalf("%q is written as %q: %v", data, once, err)
			}
		}
	})
}

// sealed puts the magic and a right checksum around lines.
func sealed(lines []byte) []byte {
	out := append([]byte(magic), lines...)
	return append(out, []byte("C "+hex8(sum(out))+"\n")...)
}

func hex8(n uint32) string {
	const digits = "0123456789abcdef"
	var out [8]byte
	for i := range out {
		out[i] = digits[n>>(28-4*i)&15]
	}
	return string(out[:])
}

// Each line that cannot be makes the file damaged.
func TestLines(t *testing.T) {
	const guid = "0123456789abcdef0123456789abcdef"
	for _, good := range []string{"", "S \\Sent -\n", "S \\Sent " + guid + " a b\n", "U\nE 10 1\n/private/ax\n", "B " + guid + "\nE 10 0\n/private/a\nE 10 0\n/private/b\n"} {
		if _, err := decode(sealed([]byte(good))); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"\n", "X\n", "S \\Sent\n", "S \\Sent -\nS \\sent -\n", "S \\What -\n", "S \\Sent " + guid + "\n", "S \\Sent 0 a\n", "S \\Sent - x\n",
		"U\nU\n", "U\nS \\Sent -\n", "U", "B " + guid + "\nB " + guid + "\n", "B 0\n", "B 00000000000000000000000000000000\n", "E 10 0\n/private/a\n",
		"U\nE 10 1\n/private/a\n", "U\nE 10 99\n/private/a\n", "U\nE 9 0\n/private/\n", "U\nE 10 0\n/private/b\nE 10 0\n/private/a\n",
		"U\nE 10 0\n/private/a\nE 10 0\n/Private/A\n", "U\nE 4294967295 4294967295\n/private/a\n", "U\nE 1 -1\n/\n"} {
		if _, err := decode(sealed([]byte(bad))); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
