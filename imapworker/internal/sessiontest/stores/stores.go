// Package stores opens empty stores of each mail format, on a disk in memory, for tests of
// sessions.
//
// Tests of the session machine and of its commands use it. It must not know the
// machine's package, whose own tests could not import it then.
package stores

import (
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/nametree"
	"rookery/internal/mailstore/pack"
	"rookery/internal/transcript"
	"rookery/internal/vfs/memfs"
)

// Formats are the mail formats.
func Formats() []string { return []string{"maildir", "mbox", "pack"} }

// Variants are what replays transcripts of a store in memory in each format, too: by the
// line "driver FORMAT" and others. but says which transcripts a format leaves out; nil:
// none.
func Variants(but func(format, name string) bool, others ...string) (out []transcript.Variant) {
	for _, format := range Formats() {
		v := transcript.Variant{Name: format, Given: append([]string{"driver " + format}, others...)}
		if but != nil {
			v.But = func(name string) bool { return but(format, name) }
		}
		out = append(out, v)
	}
	return out
}

// Options say how a store is opened.
type Options struct {
	Now       func() time.Time // the disk's clock
	Namespace mailstore.Namespace
	Special   []nametree.Special
}

// Open opens an empty store of a format.
func Open(t testing.TB, format string, opt Options) (store mailstore.Store) {
	t.Helper()
	disk := memfs.New(memfs.Options{Now: opt.Now})
	note := func(text string) { t.Log(text) }
	err := disk.Mkdir("mail", 0o700)
	if err != nil {
		t.Fatal(err)
	}
	switch format {
	case "maildir":
		store, err = maildir.Open(maildir.Options{FS: disk, MailPath: "mail", Namespace: opt.Namespace, Special: opt.Special, Note: note})
	case "mbox":
		store, err = mbox.Open(mbox.Options{Options: engine.Options{FS: disk, Namespace: opt.Namespace, Special: opt.Special, Note: note}, MailPath: "mail",
			Zone: time.UTC, JournalSize: 24 << 10})
	case "pack":
		store, err = pack.Open(pack.Options{FS: disk, MailPath: "mail", Namespace: opt.Namespace, Special: opt.Special, Note: note, Step: 4096, JournalStep: 4096})
	default:
		t.Fatalf("there is no mail format %q", format)
	}
	if err != nil {
		t.Fatal(err)
	}
	return store
}
