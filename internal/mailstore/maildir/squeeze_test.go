package maildir_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// The rules of storage hold for compressed messages, too.
func TestStoreCompressed(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		h := harness(maildir.MaildirPP, "Maildir", "", "")
		h.Open = func(disk vfs.FS) (mailstore.Store, error) {
			return maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "test.example", LockWait: 20e9, Compress: true})
		}
		h.Deliver, h.Flag, h.Remove = nil, nil, nil
		h.Sampled = true
		return h
	})
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func zstded(t *testing.T, text string) string {
	t.Helper()
	var codec compress.Codec
	var out bytes.Buffer
	w := codec.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// longMail is a message that compresses well; with LF only it is larger in CRLF form.
func longMail(lines int, eol string) string {
	var b strings.Builder
	b.WriteString("Subject: long" + eol + eol)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range lines {
		fmt.Fprintf(&b, "line %d of it, %x%s", i, r.Uint64(), eol)
	}
	return b.String()
}

// What others compressed is read, whatever its size and its line ends, and whether
// its name tells the plain size, a wrong one, or none.
func TestCompressedByOthers(t *testing.T) {
	for _, lines := range []int{3, 900, 40000} {
		for _, eol := range []string{"\n", "\r\n"} {
			plain := longMail(lines, eol)
			crlf := longMail(lines, "\r\n")
			for name, stored := range map[string]string{"gzip": gzipped(t, plain), "zstd": zstded(t, plain)} {
				for _, size := range []int{-1, len(plain), len(stored), len(plain) + 7, len(plain) - 7} {
					tr := newTree(t)
					file := "1700000000.M1P1.host"
					if size >= 0 {
						file += fmt.Sprintf(",S=%d", size)
					}
					tr.put("cur/"+file+":2,S", stored)
					tr.put("cur/1700000001.M1P1.host:2,", "Subject: beside\n\nx\n")
					s := tr.open(maildir.Options{})
					mb := tr.box(s, "INBOX")
					if got := tr.body(mb, 1); got != crlf {
						t.Fatalf("%s, %d lines, S=%d: %d octets, want %d", name, lines, size, len(got), len(crlf))
					}
					f, err := mb.Facts(1, mailstore.FactsWant{Size: true})
					tr.must(err)
					if f.Size != int64(len(crlf)) {
						t.Fatalf("%s, %d lines, S=%d: size %d, want %d", name, lines, size, f.Size, len(crlf))
					}
					if size >= 0 && size != len(plain) && !strings.Contains(strings.Join(tr.files("cur/"), " "), fmt.Sprintf(",S=%d,W=%d", len(plain), len(crlf))) {
						t.Fatalf("%s, %d lines, S=%d: the name is not mended: %q", name, lines, size, tr.files("cur/"))
					}
					if got := tr.body(mb, 1); got != crlf {
						t.Fatalf("%s: another text at the second reading", name)
					}
					m, err := mb.Message(1)
					tr.must(err)
					if _, _, ok := m.File(); ok {
						t.Fatal("a compressed file is given for sendfile")
					}
					m.Close()
					tr.must(mb.Close())
					tr.must(s.Close())
				}
			}
		}
	}
}

// New messages are stored compressed: the file holds fewer octets, its name tells
// the plain size, copies are copies of it.
func TestCompressNew(t *testing.T) {
	tr := newTree(t)
	s := tr.open(maildir.Options{Compress: true})
	texts := []string{longMail(500, "\n"), longMail(20000, "\r\n"), "Subject: tiny\r\n\r\n", zstded(t, "Subject: looks compressed\r\n\r\n"), gzipped(t, "x")}
	for _, text := range texts {
		a, err := s.Append("INBOX")
		tr.must(err)
		w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.Seen, InternalDate: time.Unix(1600000000, 0)}, -1)
		tr.must(err)
		for p := text; p != ""; { // in uneven pieces
			n := min(len(p), 1+len(p)/3)
			k, err := io.WriteString(w, p[:n])
			tr.must(err)
			if k != n {
				t.Fatal(k)
			}
			p = p[n:]
		}
		_, err = a.Commit()
		tr.must(err)
	}
	mb := tr.box(s, "INBOX")
	_, err := s.Create("copies", 0)
	tr.must(err)
	_, err = mb.Copy(numset.Of(1, 2, 4), "copies")
	tr.must(err)
	for i, text := range texts {
		want := strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
		if i >= 3 {
			want = tr.body(mb, uint32(i+1)) // bytes with LFs among them
			if !strings.Contains(want, text[:3]) {
				t.Errorf("message %d came back as %q", i+1, want)
			}
		}
		if got := tr.body(mb, uint32(i+1)); got != want {
			t.Errorf("message %d has %d octets, want %d", i+1, len(got), len(want))
		}
	}
	for i := range texts {
		f, err := mb.Facts(uint32(i+1), mailstore.FactsWant{})
		tr.must(err)
		name := f.BaseName + ":2,S"
		stored := tr.get("cur/" + name)
		packed := compress.Detect([]byte(stored)) != compress.None
		if packed != (len(texts[i]) >= 256 || i >= 3) {
			t.Errorf("message %d: compressed %v", i+1, packed)
		}
		if !strings.Contains(name, fmt.Sprintf(",S=%d,", len(texts[i]))) {
			t.Errorf("message %d: %s, want S=%d", i+1, name, len(texts[i]))
		}
		if len(texts[i]) > 256 && i < 3 && len(stored) > len(texts[i])*3/4 {
			t.Errorf("message %d takes %d octets of %d", i+1, len(stored), len(texts[i]))
		}
	}
	c := tr.box(s, "copies")
	if got := tr.body(c, 2); got != texts[1] {
		t.Error("a copy holds something else")
	}
	st, err := s.Status("copies", mailstore.StatusWant{Size: true})
	tr.must(err)
	f1, _ := mb.Facts(1, mailstore.FactsWant{Size: true})
	f2, _ := mb.Facts(2, mailstore.FactsWant{Size: true})
	f4, _ := mb.Facts(4, mailstore.FactsWant{Size: true})
	if st.Size != uint64(f1.Size+f2.Size+f4.Size) {
		t.Errorf("STATUS tells %d octets", st.Size)
	}
	if len(tr.notes) > 0 {
		t.Error(tr.notes)
	}
	tr.must(c.Close())
	tr.must(mb.Close())
	tr.must(s.Close())
}

// A message is read anywhere.
func TestCompressedAnywhere(t *testing.T) {
	plain := longMail(60000, "\n")
	crlf := longMail(60000, "\r\n")
	for _, stored := range []string{gzipped(t, plain), zstded(t, plain)} {
		tr := newTree(t)
		tr.put("cur/1700000000.M1P1.host:2,S", stored)
		s := tr.open(maildir.Options{})
		mb := tr.box(s, "INBOX")
		m, err := mb.Message(1)
		tr.must(err)
		r := rand.New(rand.NewPCG(3, 4))
		buf := make([]byte, 5000)
		for range 40 {
			off := r.IntN(len(crlf))
			n, err := m.ReadAt(buf, int64(off))
			if err != nil && err != io.EOF || string(buf[:n]) != crlf[off:min(off+len(buf), len(crlf))] {
				t.Fatalf("at %d: %d octets, %v", off, n, err)
			}
		}
		m.Close()
		tr.must(mb.Close())
		tr.must(s.Close())
	}
}

// Damage is one message's: it is told of, and the others go on.
func TestCompressedDamage(t *testing.T) {
	plain := longMail(3000, "\r\n")
	for _, stored := range []string{gzipped(t, plain), zstded(t, plain)} {
		hurt := []byte(stored)
		for i := len(hurt) / 2; i < len(hurt)/2+40; i++ {
			hurt[i] ^= 0x5a
		}
		for _, bad := range []string{string(hurt), stored[:len(stored)*2/3]} {
			tr := newTree(t)
			tr.put("cur/1700000000.M1P1.host:2,", "Subject: a\n\n")
			tr.put(fmt.Sprintf("cur/1700000001.M1P1.host,S=%d,W=%d:2,", len(plain), len(plain)), bad)
			tr.put("cur/1700000002.M1P1.host:2,", "Subject: b\n\n")
			s := tr.open(maildir.Options{})
			mb := tr.box(s, "INBOX")
			m, err := mb.Message(2)
			if err == nil {
				_, err = io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
				m.Close()
			}
			if !errkind.Is(err, errkind.Corrupt) {
				t.Errorf("reading it: %v", err)
			}
			if !strings.Contains(strings.Join(tr.notes, "\n"), "message 2 of INBOX") {
				t.Errorf("notes: %q", tr.notes)
			}
			tr.is(mb, "1:[] 2:[] 3:[]")
			if got := tr.body(mb, 3); got != "Subject: b\r\n\r\n" {
				t.Error(got)
			}
			tr.must(mb.Close())
			tr.must(s.Close())
		}
	}
}
