package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore/compress"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

func mbxFile(names string, messages ...string) string {
	head := fmt.Sprintf("*mbx*\r\n%08x%08x\r\n%s", 0x65000000, 9, names)
	return head + strings.Repeat("\x00", mbxHead-len(head)) + strings.Join(messages, "")
}

func mbxMessage(words, bits, uid int, body string) string {
	return fmt.Sprintf(" 1-Feb-2024 03:04:05 +0100,%d;%08x%04x-%08x\r\n%s", len(body), words, bits, uid, body)
}

func mtxMessage(eol, flags, body string) string {
	return fmt.Sprintf("14-Nov-2023 22:13:20 +0000,%d;%s%s%s", len(body), flags, eol, body)
}

// lines dumps a store, with UIDs and the reasons of what cannot be read.
func lines(t *testing.T, r Reader) string {
	t.Helper()
	var b strings.Builder
	folders, err := r.Folders()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		fmt.Fprintf(&b, "%q %t\n", f.Name, f.Subscribed)
		err := r.Read(f, func(m *Message) error {
			if m.Err != nil {
				fmt.Fprintf(&b, "  %s: %v\n", m.Where, errkind.Of(m.Err))
				return nil
			}
			body, err := io.ReadAll(m.Body)
			if err != nil || int64(len(body)) != m.Size {
				t.Errorf("%s: %d octets of %d, %v", m.Where, len(body), m.Size, err)
			}
			fmt.Fprintf(&b, "  %d %q %d %v %d\n", m.UID, body, m.Flags, m.Keywords, m.InternalDate.Unix())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func expect(t *testing.T, r Reader, want string) {
	t.Helper()
	if got := lines(t, r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMBX(t *testing.T) {
	file := mbxFile("$Forwarded\r\nwork\r\nbad name\r\n",
		mbxMessage(3, 1|4, 5, "one\r\n"), mbxMessage(0, mbxExpunged, 6, "expunged"), mbxMessage(4, 2|8|16|32, 7, ""), mbxMessage(0, 0, 7, "a UID twice\r\n"))
	fs := tree(t, map[string]string{"d/box": file})
	expect(t, open(t, fs, "d/box", ""), `"" false
  5 "one\r\n" 10 [$Forwarded work] 1706753045
  7 "" 21 [] 1706753045
  0 "a UID twice\r\n" 0 [] 1706753045
`)
}

func TestMBXDamaged(t *testing.T) {
	one, two := mbxMessage(0, 1, 1, "Subject: one\r\n\r\nbody\r\n"), mbxMessage(0, 1, 2, "two\r\n")
	fs := tree(t, map[string]string{
		"d/noise": mbxFile("", one, "noise noise\r\nnoise\r\n", two),
		"d/cut":   mbxFile("", two, one)[:mbxHead+len(two)+len(one)-3],
		"d/head":  mbxFile("")[:100],
		"d/long":  mbxFile("", strings.Replace(one, ",", ",9", 1), two),
	})
	expect(t, open(t, fs, "d/noise", ""), `"" false
  1 "Subject: one\r\n\r\nbody\r\n" 8 [] 1706753045
  d/noise, message 2 at octet 2123: corrupt
  2 "two\r\n" 8 [] 1706753045
`)
	expect(t, open(t, fs, "d/cut", ""), `"" false
  2 "two\r\n" 8 [] 1706753045
  d/cut, message 2 at octet 2105: corrupt
`)
	expect(t, open(t, fs, "d/head", ""), "\"\" false\n")
	expect(t, open(t, fs, "d/long", ""), `"" false
  d/long, message 1 at octet 2048: corrupt
  2 "two\r\n" 8 [] 1706753045
`)
}

func TestMTXAndTenex(t *testing.T) {
	fs := tree(t, map[string]string{
		"d/mtx":   mtxMessage("\r\n", "000000000005", "one\r\n") + mtxMessage("\r\n", "400000000052", "two\r\n"),
		"d/tenex": mtxMessage("\n", "000000000001", "one\nline\n") + " 7-Mar-96 10:11:12-PST,4;000000000000\nold\n",
	})
	expect(t, open(t, fs, "d/mtx", ""), `"" false
  0 "one\r\n" 10 [] 1700000000
  0 "two\r\n" 21 [] 1700000000
`)
	expect(t, open(t, fs, "d/tenex", ""), `"" false
  0 "one\r\nline\r\n" 8 [] 1700000000
  0 "old\r\n" 0 [] 826222272
`)
	for name, want := range map[string]string{"d/mtx": "mtx", "d/tenex": "tenex"} {
		if f := formOf(fs, name, forms()); f == nil || f.name != want {
			t.Errorf("%s is taken for %v", name, f)
		}
	}
}

// The names of keywords are in the owner's settings, the first is the highest bit.
func TestMTXKeywords(t *testing.T) {
	bits := func(places ...int) string {
		n := 0
		for _, p := range places {
			n |= 1 << (29 - p)
		}
		return fmt.Sprintf("%010o01", n)
	}
	box := mtxMessage("\r\n", bits(0, 2), "one\r\n") + mtxMessage("\r\n", bits(1, 3, 29), "two\r\n")
	fs := tree(t, map[string]string{"h/.mminit": "set folder-format same-as-inbox\r\nset keywords Work, later,bad(name, $Junk\r\nset keywords other\r\n", "h/.imaprc": "set keywords x\n", "h/mail/a": box,
		"i/.imaprc": "set KEYWORDS only\n", "i/b": box})
	expect(t, open(t, fs, "h", "uw"), `"mail/a" false
  0 "one\r\n" 8 [Work] 1700000000
  0 "two\r\n" 8 [later $Junk] 1700000000
`)
	expect(t, open(t, fs, "i/b", ""), `"" false
  0 "one\r\n" 8 [only] 1700000000
  0 "two\r\n" 8 [] 1700000000
`)
	if n := len(parseMMNames("set keywords " + strings.Repeat("k,", 40))); n != mmKeywords {
		t.Errorf("%d names", n)
	}
}

const from = "From a@b Tue Nov 14 22:13:20 2023 +0000\n"

func TestMbox(t *testing.T) {
	fs := tree(t, map[string]string{
		"d/box": from + "X-IMAPbase: 7 3 work\nX-UID: 2\nStatus: RO\nSubject: one\n\nbody\n>From quoted\n\n" +
			from + "X-UID: 3\nX-Status: AF\nX-Keywords: work\nSubject: two\n\n" + "From the start of no message\n\n" +
			from + "X-UID: 99\nSubject: spoofed\n\nx\n",
		"d/pseudo": from + "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 9 5\nStatus: RO\n\nx\n\n" + from + "X-UID: 5\n\nreal\n",
		"d/none":   "no mbox\n",
	})
	expect(t, open(t, fs, "d/box", ""), `"" false
  2 "Subject: one\r\n\r\nbody\r\n>From quoted\r\n" 8 [] 1700000000
  3 "Subject: two\r\n\r\nFrom the start of no message\r\n" 3 [work] 1700000000
  0 "Subject: spoofed\r\n\r\nx\r\n" 0 [] 1700000000
`)
	expect(t, open(t, fs, "d/pseudo", ""), "\"\" false\n  5 \"\\r\\nreal\\r\\n\" 0 [] 1700000000\n")
	expect(t, open(t, fs, "d/none", "mbox"), "\"\" false\n  d/none: invalid\n")
}

func TestMMDF(t *testing.T) {
	m := mmdfMark + "\n"
	long := strings.Repeat("x", 65530)
	fs := tree(t, map[string]string{
		"d/box": m + from + "X-IMAPbase: 7 3\nX-UID: 1\nStatus: RO\nSubject: one\n\nbody\n" + m + m + "Subject: two\n\nnot a " + mmdfMark + " mark\nnor " + m + m,
		"d/big": m + "A: b\n\n" + long + "\n" + m + m + long[:65519] + "\n" + m + m + "three\n" + m,
		"d/cut": mmdfMark + "\r\n" + "A: b\r\n\r\nunfinished",
	})
	expect(t, open(t, fs, "d/box", ""), `"" false
  1 "Subject: one\r\n\r\nbody\r\n" 8 [] 1700000000
  0 "Subject: two\r\n\r\nnot a \x01\x01\x01\x01 mark\r\nnor \x01\x01\x01\x01\r\n" 0 [] 1700000000
`)
	expect(t, open(t, fs, "d/big", ""), fmt.Sprintf("\"\" false\n  0 %q 0 [] 1700000000\n  0 %q 0 [] 1700000000\n  0 %q 0 [] 1700000000\n",
		"A: b\r\n\r\n"+long+"\r\n", long[:65519]+"\r\n", "three\r\n"))
	expect(t, open(t, fs, "d/cut", ""), "\"\" false\n  0 \"A: b\\r\\n\\r\\nunfinished\" 0 [] 1700000000\n")
}

// A mark lies across every place where one read ends and the next begins.
func TestMMDFMarksAnywhere(t *testing.T) {
	for shift := range 14 {
		body := strings.Repeat("y", 64<<10-12+shift) + "\n"
		fs := tree(t, map[string]string{"d/box": mmdfMark + "\n" + body + mmdfMark + "\n" + mmdfMark + "\nsecond\n" + mmdfMark + "\n"})
		var sizes []int64
		open(t, fs, "d/box", "").Read(Folder{place: "d/box"}, func(m *Message) error { sizes = append(sizes, m.Size); return m.Err })
		if want := []int64{int64(len(body)) + 1, 8}; !slices.Equal(sizes, want) {
			t.Errorf("shift %d: messages of %d, want %d", shift, sizes, want)
		}
	}
}

func TestMH(t *testing.T) {
	fs := tree(t, map[string]string{
		"m/inbox/10": "ten\n", "m/inbox/9": "nine\n", "m/inbox/,8": "deleted", "m/inbox/07": "no number", "m/inbox/.mh_sequences": "unseen: 10\nwork: 1-9\nreplied: 9\ncur: 9\nbad name: 9\n",
		"m/inbox/sub/1": "sub\n", "m/lists/3": "three\n",
	})
	expect(t, open(t, fs, "m", ""), `"inbox" false
  0 "nine\r\n" 9 [work] 1700000000
  0 "ten\r\n" 0 [] 1700000000
"inbox/sub" false
  0 "sub\r\n" 0 [] 1700000000
"lists" false
  0 "three\r\n" 0 [] 1700000000
`)
}

func TestUWTree(t *testing.T) {
	fs := tree(t, map[string]string{
		"h/INBOX.mtx": mtxMessage("\r\n", "000000000001", "m\r\n"), "h/mail/saved": from + "A: b\n\nmbox\n", "h/mail/lists/go": mbxFile("", mbxMessage(0, 0, 1, "mbx\r\n")),
		"h/.profile": "From nobody\n", "h/notes.txt": "no mail\n", "h/empty": "", "h/.mailboxlist": "mail/saved\r\ngone\n",
	})
	expect(t, open(t, fs, "h", ""), `"INBOX.mtx" false
  0 "m\r\n" 8 [] 1700000000
"mail/lists/go" false
  1 "mbx\r\n" 0 [] 1706753045
"mail/saved" true
  0 "A: b\r\n\r\nmbox\r\n" 0 [] 1700000000
`)
	expect(t, open(t, fs, "h", "mbox"), "\"mail/saved\" true\n  0 \"A: b\\r\\n\\r\\nmbox\\r\\n\" 0 [] 1700000000\n")
	expect(t, open(t, fs, "h/empty", "mbx"), "\"\" false\n")
}

func TestOneMessage(t *testing.T) {
	var packed bytes.Buffer
	w := new(compress.Codec).NewWriter(&packed)
	io.WriteString(w, "Subject: packed\n\nx\n")
	w.Close()
	fs := tree(t, map[string]string{"d/mail": "Received: by x\n\nbody\n", "d/text": "no header here\n", "d/a.eml": packed.String(), "d/m/cur/1.x": packed.String()})
	expect(t, open(t, fs, "d/mail", ""), "\"\" false\n  0 \"Received: by x\\r\\n\\r\\nbody\\r\\n\" 0 [] 1700000000\n")
	expect(t, open(t, fs, "d/text", "message"), "\"\" false\n  0 \"no header here\\r\\n\" 0 [] 1700000000\n")
	expect(t, open(t, fs, "d/a.eml", ""), "\"\" false\n  0 \"Subject: packed\\r\\n\\r\\nx\\r\\n\" 0 [] 1700000000\n")
	expect(t, open(t, fs, "d/m", ""), "\"\" false\n  0 \"Subject: packed\\r\\n\\r\\nx\\r\\n\" 0 [] 1700000000\n")
	if _, err := Open(fs, "d/text", ""); !errkind.Is(err, errkind.Invalid) {
		t.Fatal(err)
	}
	if _, err := Open(fs, "d", "message"); !errkind.Is(err, errkind.Invalid) {
		t.Fatal(err)
	}
}

// The caller's error ends the reading at once.
func TestYieldEnds(t *testing.T) {
	stop := errors.New("stop")
	for name, body := range map[string]string{"mbx": mbxFile("", mbxMessage(0, 0, 1, "a"), mbxMessage(0, 0, 2, "b")), "mbox": from + "A: b\n\nx\n\n" + from + "A: b\n\nx\n",
		"mmdf": mmdfMark + "\na\n" + mmdfMark + "\n" + mmdfMark + "\nb\n" + mmdfMark + "\n", "tenex": mtxMessage("\n", "000000000000", "a\n") + mtxMessage("\n", "000000000000", "b\n")} {
		fs := tree(t, map[string]string{"d/f": body})
		n := 0
		err := open(t, fs, "d/f", name).Read(Folder{place: "d/f"}, func(*Message) error { n++; return stop })
		if n != 1 || err != stop {
			t.Errorf("%s: %d messages, %v", name, n, err)
		}
	}
}

// Whatever the bytes: reading ends, each octet is read a bounded number of
// times, and what is given can be read to its length.
func FuzzForms(f *testing.F) {
	f.Add(mbxFile("k\r\n", mbxMessage(1, 1, 1, "one\r\n"), "noise\r\n", mbxMessage(1, 1, 2, "two\r\n"))[2000:])
	f.Add(mtxMessage("\r\n", "000000000001", "one\r\n") + mtxMessage("\n", "000000000001", "one\n"))
	f.Add(mmdfMark + "\n" + from + "X-UID: 1\nA: b\n\nx\n" + mmdfMark + "\n" + mmdfMark + "\ny\n")
	f.Add(from + "X-IMAPbase: 7 3 work\nX-UID: 2\n\nbody\n\n" + from + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		fs := memfs.New(memfs.Options{Now: func() time.Time { return time.Unix(1700000000, 0) }})
		for _, form := range forms() {
			body := s
			if form.name == "mbx" {
				body = mbxFile("k\r\n", s)
			}
			file, err := fs.OpenFile(form.name, vfs.Read|vfs.Write|vfs.Create, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			file.Write([]byte(body))
			given := int64(0)
			err = form.read(&mailFile{src: file, size: int64(len(body)), path: form.name}, func(m *Message) error {
				if m.Err != nil {
					return nil
				}
				if n, err := io.Copy(io.Discard, m.Body); n != m.Size || err != nil {
					t.Errorf("%s: %d octets of %d, %v", m.Where, n, m.Size, err)
				}
				given += m.Size
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", form.name, err)
			}
			if given > 2*int64(len(body)) { // a CR may have been put before each LF
				t.Errorf("%s: %d octets of mail in a file of %d", form.name, given, len(body))
			}
			file.Close()
		}
	})
}
