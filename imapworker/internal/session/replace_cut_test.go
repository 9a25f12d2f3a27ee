package session

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// Whenever the power goes in a REPLACE, the old message is there, or the new one, or
// both; and the new one once it was answered.
func TestReplaceCuts(t *testing.T) {
	open := map[string]func(vfs.FS) (mailstore.Store, error){
		"maildir": func(disk vfs.FS) (mailstore.Store, error) {
			return maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir"})
		},
		"mbox": func(disk vfs.FS) (mailstore.Store, error) {
			return mbox.Open(mbox.Options{Options: engine.Options{FS: disk}, MailPath: "mail", Zone: time.UTC, JournalSize: 24 << 10})
		},
		"pack": func(disk vfs.FS) (mailstore.Store, error) {
			return pack.Open(pack.Options{FS: disk, MailPath: "mail", Step: 4096, JournalStep: 4096})
		},
	}
	for driver, open := range open {
		for _, to := range []string{"INBOX", "Other"} {
			t.Run(driver+"/"+to, func(t *testing.T) {
				t.Parallel()
				clock := memfs.NewClock(start)
				storetest.Cut{
					Open: open,
					Base: func() *memfs.FS {
						disk := memfs.New(memfs.Options{Now: clock.Now})
						if err := disk.Mkdir("Maildir", 0o700); err != nil {
							t.Fatal(err)
						}
						s, err := open(disk)
						if err == nil {
							_, err = s.Create("Other", 0)
						}
						if err == nil {
							err = replaceIn(s, "APPEND INBOX {17+}\r\nSubject: old\r\n\r\nx")
						}
						if err == nil {
							err = s.Close()
						}
						if err != nil {
							t.Fatal(err)
						}
						return disk.Survive(memfs.Kept, 0)
					},
					Later: func() { clock.Jump(time.Hour) },
					Do:    func(s mailstore.Store) error { return replaceIn(s, "REPLACE 1 "+to+" {17+}\r\nSubject: new\r\n\r\ny") },
					Show: func(s mailstore.Store, _ vfs.FS) (string, error) {
						texts, err := allTexts(s)
						switch old, fresh := slices.Contains(texts, "x"), slices.Contains(texts, "y"); {
						case err != nil:
							return "", err
						case fresh:
							return "new", nil
						case old:
							return "old", nil
						}
						return fmt.Sprintf("neither: %q", texts), nil
					},
				}.Run(t)
			})
		}
	}
}

// replaceIn gives a command to a session in INBOX.
func replaceIn(store mailstore.Store, command string) error {
	out := &peers.Output{}
	s := New(Config{Settings: Defaults(), Store: store, Out: out, Log: &keepLog{}, Changes: make(chan struct{}, 1)}, start)
	s.Input(start, []byte("a SELECT INBOX\r\nb "+command+"\r\n"))
	s.Close("end")
	if got := string(out.Take()); !strings.Contains(got, "b OK ") {
		return fmt.Errorf("answered %q", got)
	}
	return nil
}

// allTexts gives the bodies of all messages.
func allTexts(s mailstore.Store) (texts []string, err error) {
	for _, name := range []string{"INBOX", "Other"} {
		box, err := s.Open(name)
		if err != nil {
			return nil, err
		}
		defer box.Close()
		snapshot, err := box.Sync()
		if err != nil {
			return nil, err
		}
		for i := range snapshot.Len() {
			m, err := box.Message(snapshot.At(i).UID)
			if err != nil {
				return nil, err
			}
			text, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
			m.Close()
			if err != nil {
				return nil, err
			}
			_, body, _ := strings.Cut(string(text), "\r\n\r\n")
			texts = append(texts, body)
		}
	}
	return texts, nil
}
