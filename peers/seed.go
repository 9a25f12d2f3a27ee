package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"rookery/internal/peers"
)

// play seeds what a transcript supposes and plays it.
func (s *server) play(sc script, user string, words map[string]bool) []peers.Outcome {
	unplayed := func(why string) []peers.Outcome {
		return []peers.Outcome{{Transcript: sc.name, Command: "(all)", Verdict: peers.Unplayed, Ours: why}}
	}
	given, steps, err := peers.Steps(sc.text)
	if err != nil {
		return unplayed(err.Error())
	}
	if strings.HasPrefix(sc.name, "session/acl/") || strings.HasPrefix(sc.name, "session/noacl/") || strings.HasPrefix(sc.name, "session/spaces/") {
		return unplayed("several users or namespaces")
	}
	if err := s.makeUser(user); err != nil {
		return unplayed(err.Error())
	}
	login := func() (*peers.Conn, error) { return s.login(user) }
	seeder, err := login()
	if err != nil {
		return unplayed(err.Error())
	}
	defer seeder.Close()
	for _, g := range given {
		if why := seed(seeder, sc, strings.Fields(g), words); why != "" {
			return unplayed(why)
		}
	}
	p := peers.Player{Name: sc.name, Words: words, Login: login, Event: func(words string) bool { return event(seeder, sc, words) }}
	return p.Play(steps)
}

// seed does what one line of the setup says; why says that it cannot be done elsewhere.
func seed(c *peers.Conn, sc script, words []string, has map[string]bool) (why string) {
	var err error
	switch words[0] {
	case "mailbox":
		n, _ := strconv.Atoi(words[len(words)-1])
		create := "CREATE " + quote(words[1])
		if len(words) > 3 {
			if !has["CREATE-SPECIAL-USE"] {
				return "special uses cannot be set"
			}
			create += " (USE (" + words[2] + "))"
		}
		if !strings.EqualFold(words[1], "INBOX") {
			_, err = c.Do(create) // it may be there
		}
		for i := 1; err == nil && i <= n; i++ {
			err = appendTo(c, words[1], "", fmt.Sprintf("Subject: message %d\r\n\r\nbody\r\n", i))
		}
	case "mail":
		err = mail(c, sc, words[1], words[2:])
	case "modseqs", "numbers":
		if words[1] == "none" {
			return "a mailbox without mod-sequences"
		}
	case "bad-commands", "as-memory":
	default:
		return "given: " + words[0]
	}
	if err != nil {
		return "seeding: " + err.Error()
	}
	return ""
}

// mail appends a file of the transcript's folder.
func mail(c *peers.Conn, sc script, file string, words []string) error {
	data, err := os.ReadFile(filepath.Join(sc.folder, file))
	if err != nil {
		return err
	}
	data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	meta := ""
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "internaldate":
			i++
			at, err := time.Parse(time.RFC3339, words[i])
			if err != nil {
				return err
			}
			meta += at.Format(` "02-Jan-2006 15:04:05 -0700"`)
		case "flags":
			meta = " (" + strings.Join(words[i+1:], " ") + ")" + meta
			i = len(words)
		}
	}
	return appendTo(c, "INBOX", meta, string(data))
}

func appendTo(c *peers.Conn, mailbox, meta, text string) error {
	return c.Must(fmt.Sprintf("APPEND %s%s {%d+}\r\n%s", quote(mailbox), meta, len(text), text))
}

func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(strings.ReplaceAll(name, "&", "&-")) + `"`
}

// event does what happens elsewhere, through the seeder's session.
func event(c *peers.Conn, sc script, words string) bool {
	f := strings.Fields(words)
	switch f[0] {
	case "login":
		return true
	case "pass":
		d, err := time.ParseDuration(f[1])
		if err != nil || d > 10*time.Second {
			return false
		}
		time.Sleep(min(d, 300*time.Millisecond))
		return true
	case "deliver":
		if strings.HasSuffix(f[1], ".eml") {
			return mail(c, sc, f[1], f[2:]) == nil
		}
		return appendTo(c, f[1], "", "Subject: message 1\r\n\r\nbody\r\n") == nil
	case "expunge":
		return c.Must("SELECT INBOX") == nil && c.Must("UID STORE "+f[1]+` +FLAGS.SILENT (\Deleted)`) == nil && c.Must("UID EXPUNGE "+f[1]) == nil && c.Must("UNSELECT") == nil
	case "flags":
		return c.Must("SELECT INBOX") == nil && c.Must("UID STORE "+f[1]+" FLAGS.SILENT ("+strings.Join(f[2:], " ")+")") == nil && c.Must("UNSELECT") == nil
	}
	return false
}
