// Package prelogintest runs transcripts against the machines before login.
//
// Only tests import it. A transcript is a text file:
//
//	# a comment, kept
//	given: secured starttls …     what the machine starts with; the test's words
//	C: a1 NOOP                    the client's line; CRLF is added
//	C= "raw bytes\n"              bytes as a Go string
//	E: granted ann                an event for the machine
//	S: a1 OK NOOP completed.      expected: a line to the client
//	X: close "Aborted login"      expected: another effect
//
// Consecutive C lines are fed at once. Every transcript is run three times: so,
// line by line, and byte by byte.
package prelogintest

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/login/internal/prelogin"
)

var update = flag.Bool("update", false, "write the transcripts anew; the diff is the review")

// Run runs every transcript in testdata/*.txt.
func Run(t *testing.T, start func(given []string) prelogin.Machine) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []string{"whole", "line", "byte"} {
				got := replay(t, string(raw), size, start)
				if *update && size == "whole" {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					raw = []byte(got)
				}
				if got != string(raw) {
					t.Errorf("fed by %s:\n%s\nwant:\n%s", size, got, raw)
				}
			}
		})
	}
}

type player struct {
	t    *testing.T
	m    prelogin.Machine
	size string
	out  strings.Builder
	sent []byte
}

func replay(t *testing.T, script, size string, start func([]string) prelogin.Machine) string {
	p := &player{t: t, size: size}
	var fed []string
	for line := range strings.Lines(script) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if kind != "C:" && kind != "C=" && fed != nil {
			p.feed(fed)
			fed = nil
		}
		switch kind {
		case "S:", "X:":
			continue
		case "C:":
			fed = append(fed, rest+"\r\n")
		case "C=":
			raw, err := strconv.Unquote(rest)
			if err != nil {
				t.Fatalf("%q: %v", rest, err)
			}
			fed = append(fed, raw)
		}
		p.out.WriteString(line)
		switch kind {
		case "given:":
			p.m = start(strings.Fields(rest))
			p.show(p.m.Greet())
		case "E:":
			p.event(rest)
		}
	}
	if fed != nil {
		p.feed(fed)
	}
	p.m.Wipe()
	return p.out.String()
}

// feed gives the lines of one block; what they bring is shown after the block.
func (p *player) feed(lines []string) {
	var effects []prelogin.Effect
	if p.size == "whole" {
		lines = []string{strings.Join(lines, "")}
	}
	for _, line := range lines {
		step := len(line)
		if p.size == "byte" {
			step = 1
		}
		for ; len(line) > 0; line = line[step:] {
			effects = append(effects, p.m.Feed([]byte(line[:step]))...)
		}
	}
	p.show(effects)
}

func (p *player) show(effects []prelogin.Effect) {
	for _, e := range effects {
		if s, ok := e.(prelogin.Send); ok {
			p.sent = append(p.sent, s...)
			continue
		}
		p.lines()
		fmt.Fprintf(&p.out, "X: %s\n", describe(e))
	}
	p.lines()
}

func (p *player) lines() {
	if len(p.sent) == 0 {
		return
	}
	text, ok := strings.CutSuffix(string(p.sent), "\r\n")
	if !ok || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") {
		p.t.Errorf("sent %q", p.sent)
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		fmt.Fprintf(&p.out, "S: %s\n", line)
	}
	p.sent = nil
}

func describe(e prelogin.Effect) string {
	switch e := e.(type) {
	case prelogin.BeginAuth:
		if !e.HasInitial {
			return "begin " + e.Mech
		}
		return fmt.Sprintf("begin %s %q", e.Mech, e.Initial.Reveal())
	case prelogin.ContinueAuth:
		return fmt.Sprintf("continue %q", e.Response.Reveal())
	case prelogin.CancelAuth:
		return "cancel"
	case prelogin.StartTLS:
		return "starttls"
	case prelogin.HandOver:
		s := fmt.Sprintf("hand over tag=%q command=%s pending=%q", e.Tag, e.Command, e.Pending)
		if e.UTF8 {
			s += " utf8"
		}
		if e.Lang != "" {
			s += " lang=" + e.Lang
		}
		if len(e.Client) > 0 {
			s += fmt.Sprintf(" client=%q", e.Client)
		}
		return s
	case prelogin.Close:
		return fmt.Sprintf("close %q", e.Why)
	case prelogin.Forward:
		return fmt.Sprintf("forward remote=%v local=%v session=%q", e.Remote, e.Local, e.Session)
	}
	return fmt.Sprintf("%#v", e)
}

var kinds = map[string]errkind.Kind{"auth": errkind.AuthFailed, "authz": errkind.AuthzFailed, "expired": errkind.Expired,
	"unavailable": errkind.Unavailable, "privacy": errkind.Privacy, "contact": errkind.ContactAdmin, "limit": errkind.Limit,
	"invalid": errkind.Invalid, "inuse": errkind.InUse, "other": errkind.Other}

// event is an E line: challenge BASE64, granted USER, refused KIND USER [TEXT],
// handoff-failed KIND [TEXT], tls WORDS…, bye TEXT.
func (p *player) event(line string) {
	word, rest, _ := strings.Cut(line, " ")
	args := strings.SplitN(rest+"  ", " ", 3)
	switch word {
	case "challenge":
		data, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		p.show(p.m.Challenge(data))
	case "granted":
		p.show(p.m.Granted(rest))
	case "refused":
		p.show(p.m.Refused(kinds[args[0]], strings.Trim(args[1], "-"), strings.TrimSpace(args[2])))
	case "handoff-failed":
		_, text, _ := strings.Cut(rest, " ")
		p.show(p.m.HandoffFailed(kinds[args[0]], text))
	case "tls":
		p.show(p.m.TLSStarted(Facts(strings.Fields(rest))))
	case "bye":
		p.show(p.m.Bye(rest, false))
	case "stats":
		p.out.WriteString(fmt.Sprintf("X: %+v\n", p.m.Stats()))
	default:
		p.t.Fatalf("no event %q", line)
	}
}

// Facts reads the words of a given line that are about the connection.
func Facts(words []string) prelogin.Facts {
	var f prelogin.Facts
	for _, w := range words {
		switch w {
		case "tls":
			f.TLS = true
		case "secured":
			f.Secured = true
		case "starttls":
			f.StartTLS = true
		case "refuse":
			f.Refuse = true
		case "trusted":
			f.Trusted = true
		}
	}
	return f
}

// Mechanisms are PLAIN, LOGIN, CRAM-MD5 and APOP, without those named "no-…" in
// words.
func Mechanisms(words []string) []prelogin.Mechanism {
	var list []prelogin.Mechanism
	for _, m := range []prelogin.Mechanism{{Name: "PLAIN", Plaintext: true}, {Name: "LOGIN", Plaintext: true}, {Name: "CRAM-MD5"}, {Name: "APOP", Private: true}} {
		if !strings.Contains(strings.Join(words, " ")+" ", "no-"+strings.ToLower(m.Name)+" ") {
			list = append(list, m)
		}
	}
	return list
}

// Drive feeds in, portion by portion, and answers what the machine asks for by a
// fixed rule. It gives what the client reads.
func Drive(m prelogin.Machine, in []byte, portion func(left int) int) string {
	var out bytes.Buffer
	handle := func(effects []prelogin.Effect) {
		for len(effects) > 0 {
			var next []prelogin.Effect
			for _, e := range effects {
				switch e := e.(type) {
				case prelogin.Send:
					out.Write(e)
				case prelogin.BeginAuth:
					if e.HasInitial {
						next = append(next, m.Refused(errkind.AuthFailed, "", "")...)
					} else {
						next = append(next, m.Challenge([]byte("hi"))...)
					}
				case prelogin.ContinueAuth:
					next = append(next, m.Refused(errkind.Invalid, "", "")...)
				case prelogin.StartTLS:
					out.WriteString("TLS\n")
				}
			}
			effects = next
		}
	}
	handle(m.Greet())
	for len(in) > 0 {
		n := portion(len(in))
		handle(m.Feed(in[:n]))
		in = in[n:]
	}
	return out.String()
}
