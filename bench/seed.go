package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Who does what; counted from 1. Each has mail of his own, so that what one
// row leaves behind is not another's beginning.
const (
	reader    = 1 // selects, fetches, searches
	writer    = 2 // stores, copies, moves, expunges
	collector = 3 // POP3; one more for each size
	appender  = 6
	manyBoxes = 7  // STATUS and LIST; one more for each size
	bigLetter = 9  // a message of 50 MB
	million   = 10 // one folder of 1,000,000
	tenUsers  = 11 // to 20
	worker    = 31 // to 80: those whose memory is measured after some work
)

func (l *lab) user(n int) user { return l.users[n-1] }

func (g *rig) home(u user) string { return filepath.Join(g.mail, u.name) }

// once runs a seed, unless it was run for this rig.
func (g *rig) once(what string, seed func() error) error {
	if g.seeded[what] {
		return nil
	}
	if err := seed(); err != nil {
		return fmt.Errorf("%s: seed %s: %w", g.name, what, err)
	}
	g.seeded[what] = true
	return nil
}

// fill puts messages 0 to n-1 into a folder of a user ("" is INBOX), in the
// format of the rig. The first rig that gets a folder gets real files; a later
// one gets hard links to them where links is set, which is fair where mail is
// only read or renamed: the bytes lie in the system's cache for both.
func (l *lab) fill(g *rig, who int, box string, n int, links bool) error {
	u := l.user(who)
	return g.once(fmt.Sprintf("%s/%s", u.name, box), func() error {
		switch g.key.driver {
		case "maildir":
			return l.fillMaildir(g, u, box, n, links)
		case "mbox":
			return fillMbox(g, u, box, n)
		}
		return fmt.Errorf("%s cannot be filled from outside", g.key.driver)
	})
}

// corpusOf gives what letters a folder gets: a million are small ones. What is
// copied into a folder must not be what is there: a copy may keep its name.
func corpusOf(box string, n int) corpus {
	if box == spareBox {
		return corpus{first: 2_000_000}
	}
	return corpus{small: n > 100_000}
}

func (l *lab) fillMaildir(g *rig, u user, box string, n int, links bool) error {
	root := filepath.Join(g.home(u), "Maildir")
	target := root
	if box != "" {
		target = filepath.Join(root, "."+box)
	}
	id := fmt.Sprintf("%s/%s", u.name, box)
	source := l.first[id]
	// A folder comes into being whole: it is filled under another name.
	build := filepath.Join(g.home(u), "filling")
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		if err := ownDir(filepath.Join(build, sub), u); err != nil {
			return err
		}
	}
	if box != "" {
		if err := ownFile(filepath.Join(build, "maildirfolder"), nil, u); err != nil {
			return err
		}
	}
	c := corpusOf(box, n)
	for i := range n {
		if n >= 100_000 && i%100_000 == 0 {
			progress("%s: %s of %s, %d of %d messages", g.name, boxName(box), u.name, i, n)
		}
		if err := placeLetter(c, i, filepath.Join(build, "cur"), source, links, u, box); err != nil {
			return err
		}
	}
	if links && source == "" {
		// Servers rename and unlink what lies in their folders; links come from
		// a folder that none of them has.
		pristine := filepath.Join(l.disk.root, "pristine", u.name, boxName(box))
		if err := linkAll(filepath.Join(build, "cur"), pristine); err != nil {
			return err
		}
		l.first[id] = pristine
	}
	if err := settleDirs(build); err != nil {
		return err
	}
	if box != "" {
		return os.Rename(build, target)
	}
	if err := os.Rename(filepath.Join(build, "cur"), filepath.Join(target, "cur2")); err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(target, "cur")), os.Rename(filepath.Join(target, "cur2"), filepath.Join(target, "cur")), os.RemoveAll(build))
}

// settleDirs dates folders back: a server may look again and again into one that
// was changed a second ago, which no folder of old mail was.
func settleDirs(dir string) error {
	old := time.Now().Add(-time.Hour)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Chtimes(filepath.Join(dir, sub), old, old); err != nil {
			return err
		}
	}
	return nil
}

func boxName(box string) string {
	if box == "" {
		return "INBOX"
	}
	return box
}

// placeLetter writes or links one file.
func placeLetter(c corpus, n int, dir, source string, links bool, u user, box string) error {
	l := c.letter(n)
	if strings.HasPrefix(box, "W") {
		// In folders where flags are changed nothing has \Flagged or \Answered yet.
		l.flags = strings.Trim(l.flags, "FR")
	}
	path := filepath.Join(dir, l.base+":2,"+l.flags)
	if links && source != "" {
		return os.Link(filepath.Join(source, l.base+":2,"+l.flags), path)
	}
	if err := ownFile(path, l.text, u); err != nil {
		return err
	}
	return os.Chtimes(path, l.sent, l.sent)
}

func ownFile(path string, data []byte, u user) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return os.Lchown(path, u.uid, u.gid)
}

func linkAll(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// fillMbox writes an mbox as a delivery leaves it (RFC 4155).
func fillMbox(g *rig, u user, box string, n int) error {
	dir, path := filepath.Join(g.home(u), "mbox"), filepath.Join(g.home(u), "inbox")
	if box != "" {
		path = filepath.Join(dir, box)
	}
	if err := ownDir(dir, u); err != nil {
		return err
	}
	var b bytes.Buffer
	c := corpusOf(box, n)
	for i := range n {
		l := c.letter(i)
		fmt.Fprintf(&b, "From ann@example.org %s\n", l.sent.Format("Mon Jan _2 15:04:05 2006"))
		if strings.Contains(l.flags, "S") {
			b.WriteString("Status: RO\n")
		}
		b.Write(l.text)
		b.WriteByte('\n')
	}
	return ownFile(path, b.Bytes(), u)
}

// fillFolders makes n folders of a Maildir++ with three messages each, or none.
func (l *lab) fillFolders(g *rig, who, n, messages int) error {
	u := l.user(who)
	return g.once(fmt.Sprintf("%s/folders", u.name), func() error {
		root := filepath.Join(g.home(u), "Maildir")
		for i := range n {
			folder := filepath.Join(root, fmt.Sprintf(".f%05d", i))
			for _, sub := range []string{"", "cur", "new", "tmp"} {
				if err := ownDir(filepath.Join(folder, sub), u); err != nil {
					return err
				}
			}
			for m := range messages {
				if err := placeLetter(corpus{}, i*messages+m, filepath.Join(folder, "cur"), "", false, u, ""); err != nil {
					return err
				}
			}
			if err := settleDirs(folder); err != nil {
				return err
			}
		}
		return nil
	})
}

// wordCounts tells how many of the first n letters have subjectWord in the
// subject and bodyWord in the body.
func wordCounts(n int) (subject, body int) {
	for i := range n {
		if i%100 == 17 {
			subject++
		}
		if i%100 == 42 {
			body++
		}
	}
	return subject, body
}
