package demo

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/vfs"
)

// sample is one message of each demo user.
type sample struct {
	flags string        // Maildir flags; "" with cur false: into new/
	cur   bool          // seen by a client before
	age   time.Duration // how long ago it came
	text  func(to, date string) string
}

// samples are varied on purpose: what each shows is its function's name.
func samples() []sample {
	return []sample{
		{"S", true, 9 * 24 * time.Hour, plainText},
		{"FS", true, 5 * 24 * time.Hour, withAttachment},
		{"RS", true, 3 * 24 * time.Hour, utf8Subject},
		{"", true, 2 * 24 * time.Hour, alternative},
		{"", false, 26 * time.Hour, nested},
		{"", false, 5 * time.Hour, large},
		{"", false, 10 * time.Minute, lastOne},
	}
}

// WriteSamples makes a mail store at path with the sample messages of the user.
// It runs as that user, in a process of its own.
func WriteSamples(driver, path, address string, now time.Time) error {
	if driver != "maildir" {
		return storeSamples(driver, path, address, now)
	}
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
			return err
		}
	}
	for i, s := range samples() {
		when := now.Add(-s.age)
		text := s.text(address, when.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
		if err := deliver(path, s, i, when, text); err != nil {
			return err
		}
	}
	return nil
}

// openStore opens a store of one of the formats that only their driver writes.
func openStore(driver string, disk vfs.FS) (mailstore.Store, error) {
	if driver == "mbox" {
		return mbox.Open(mbox.Options{Options: engine.Options{FS: disk}})
	}
	return pack.Open(pack.Options{FS: disk})
}

// storeSamples has the driver itself keep the samples.
func storeSamples(driver, path, address string, now time.Time) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	disk, err := vfs.OpenRoot(path)
	if err != nil {
		return err
	}
	defer disk.Close()
	store, err := openStore(driver, disk)
	if err != nil {
		return err
	}
	defer store.Close()
	letters := map[rune]mailstore.Flags{'S': mailstore.Seen, 'F': mailstore.Flagged, 'R': mailstore.Answered}
	for _, s := range samples() {
		when := now.Add(-s.age)
		meta := mailstore.AppendMeta{InternalDate: when}
		for _, c := range s.flags {
			meta.Flags |= letters[c]
		}
		a, err := store.Append("INBOX")
		if err != nil {
			return err
		}
		w, err := a.Add(meta, -1)
		if err == nil {
			_, err = io.WriteString(w, s.text(address, when.Format("Mon, 02 Jan 2006 15:04:05 -0700")))
		}
		if err == nil {
			_, err = a.Commit()
		}
		a.Abort()
		if err != nil {
			return err
		}
	}
	return nil
}

// deliver is what any Maildir delivery does: tmp, then a rename.
func deliver(path string, s sample, i int, when time.Time, text string) error {
	name := fmt.Sprintf("%d.M%dP%d.localhost", when.Unix(), i, os.Getpid())
	tmp := filepath.Join(path, "tmp", name)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Chtimes(tmp, when, when); err != nil {
		return err
	}
	to := filepath.Join(path, "new", name)
	if s.cur {
		to = filepath.Join(path, "cur", name+":2,"+s.flags)
	}
	return os.Rename(tmp, to)
}

// head is the header lines that all samples have.
func head(to, date, from, subject, id string) string {
	path := from
	if i := strings.LastIndexByte(from, '<'); i >= 0 {
		path = strings.TrimSuffix(from[i+1:], ">")
	}
	return "Return-Path: <" + path + ">\nDate: " + date + "\nFrom: " + from + "\nTo: " + to +
		"\nSubject: " + subject + "\nMessage-ID: <" + id + "." + strings.ReplaceAll(to, "@", ".at.") + "@demo.example.test>\nMIME-Version: 1.0\n"
}

func plainText(to, date string) string {
	return head(to, date, "postmaster@example.test", "Welcome to Rookery", "welcome") +
		"Content-Type: text/plain; charset=us-ascii\n\n" +
		"Hello " + to + ",\n\nthis mailbox is yours. Read it over IMAP or POP3, move\nand delete what you like.\n\n.\n" +
		"The line above is a single dot: POP3 has to double it.\n\n-- \nThe demo\n"
}

func withAttachment(to, date string) string {
	csv := "name,uid,seen\nWelcome,1,yes\nReport,2,yes\n"
	return head(to, date, "\"Reports, Weekly\" <reports@example.test>", "Report of the week", "report") +
		"Content-Type: multipart/mixed; boundary=\"=-demo-mixed\"\n\nThis text stands before the first part; clients do not show it.\n" +
		"--=-demo-mixed\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nThe table is attached. Grüße!\n\n" +
		"--=-demo-mixed\nContent-Type: text/csv; name=\"report.csv\"\nContent-Disposition: attachment; filename=\"report.csv\"\n" +
		"Content-Transfer-Encoding: base64\n\n" + wrap64([]byte(csv)) + "--=-demo-mixed--\n"
}

func utf8Subject(to, date string) string {
	return head(to, date, "=?utf-8?Q?J=C3=BCrgen_M=C3=BCller?= <juergen@example.test>",
		"=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte("Grüße aus Köln — 今日は"))+"?=", "greetings") +
		"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" +
		"Sch=C3=B6ne Gr=C3=BC=C3=9Fe, und bis =\nbald!\n\n=E4=BB=8A=E6=97=A5=E3=81=AF\n"
}

func alternative(to, date string) string {
	return head(to, date, "News <news@example.test>", "Two forms of one text", "news") +
		"Content-Type: multipart/alternative;\n\tboundary=demo-alternative\n\n" +
		"--demo-alternative\nContent-Type: text/plain; charset=us-ascii\n\nPlain words.\n" +
		"--demo-alternative\nContent-Type: text/html; charset=us-ascii\n\n<html><body><p><b>Bold</b> words.</p></body></html>\n" +
		"--demo-alternative--\n"
}

func nested(to, date string) string {
	inner := head("list@example.test", date, "Ann <ann@example.test>", "The first message", "inner") +
		"Content-Type: multipart/mixed; boundary=inner\n\n--inner\nContent-Type: text/plain\n\nInner text.\n" +
		"--inner\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + wrap64([]byte{0, 1, 2, 3, 254, 255}) + "--inner--\n"
	return head(to, date, "Bob <bob@example.test>", "Fwd: The first message", "forward") +
		"Content-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: text/plain; charset=us-ascii\n\nSee below.\n" +
		"--outer\nContent-Type: message/rfc822\nContent-Disposition: inline\n\n" + inner + "--outer--\n"
}

// large is about 350 KB; its bytes look random and are the same each time.
func large(to, date string) string {
	r := rand.New(rand.NewPCG(1, 2))
	blob := make([]byte, 256<<10)
	for i := range blob {
		blob[i] = byte(r.Uint32())
	}
	return head(to, date, "Camera <camera@example.test>", "A larger attachment", "large") +
		"Content-Type: multipart/mixed; boundary=large\n\n--large\nContent-Type: text/plain\n\nA quarter of a megabyte follows.\n" +
		"--large\nContent-Type: application/octet-stream; name=picture.bin\nContent-Disposition: attachment; filename=picture.bin\n" +
		"Content-Transfer-Encoding: base64\n\n" + wrap64(blob) + "--large--\n"
}

func lastOne(to, date string) string {
	return head(to, date, "Ann <ann@example.test>", "Lunch?", "lunch") +
		"Cc: Bob <bob@example.test>, \"Dan (away)\" <dan@example.test>\nIn-Reply-To: <inner.list.at.example.test@demo.example.test>\n" +
		"Content-Type: text/plain; format=flowed\n\nAt noon?\nAnn\n"
}

func wrap64(b []byte) string {
	text := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(text) > 76 {
		out.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	out.WriteString(text + "\n")
	return out.String()
}
