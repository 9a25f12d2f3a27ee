package attack_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/child"
	"rookery/internal/e2e/harness"
)

// mark is in all that is not granted: names, subjects, bodies.
const mark = "MARK-OF-SECRETS"

const sharedSpace = "[[namespace]]\nname = \"inbox\"\ninbox = true\nseparator = \"/\"\n[[namespace]]\nname = \"others\"\ntype = \"shared\"\nprefix = \"Other Users/\"\nseparator = \"/\"\n"

// picture is all that a user sees of his mail.
func picture(t *testing.T, c *harness.Client) string {
	t.Helper()
	var out []string
	for _, line := range c.OK(`LIST "" "*"`) {
		if strings.HasPrefix(line, "* LIST") && !strings.Contains(line, "Other Users") {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	for _, name := range []string{"INBOX", "Open", "Seen", mark + "-box"} {
		out = append(out, c.OK("EXAMINE %s", name)...)
		out = append(out, c.OK("GETACL %s", name)...)
		out = append(out, c.OK("GETMETADATA (DEPTH infinity) %s (/private /shared/comment)", name)...)
		out = append(out, c.IMAP("UID FETCH 1:* (FLAGS RFC822.SIZE BODY.PEEK[])")...)
		c.OK("UNSELECT")
	}
	for i, line := range out { // tags count on
		if tag, rest, ok := strings.Cut(line, " "); ok && tag != "*" {
			out[i] = rest
		}
	}
	return strings.Join(out, "\n")
}

type guestFindings struct {
	Answers map[string]string
	Leaks   []string
	Calls   int
	Ends    int
}

// TestGuest takes over the process of somebody to whom another grants a little: by
// whatever it says to master and to the owner's process, it comes by nothing more.
func TestGuest(t *testing.T) {
	srv := start(t, setup{role: child.IMAPWorker, config: sharedSpace})
	owners := map[string]*harness.Client{}
	for _, user := range []string{"u19", "u20"} { // whose processes are the real ones
		c, err := srv.dial("imap")
		must(t, err)
		c.Login(user)
		owners[user] = c
	}
	ann, carl := owners["u19"], owners["u20"]
	for _, name := range []string{"Open", "Seen", mark + "-box"} {
		ann.OK("CREATE %s", name)
		for range 3 {
			text := "Subject: " + mark + "\r\n\r\n" + mark + "\r\n"
			if name == "Open" {
				text = "Subject: open\r\n\r\nopen\r\n"
			}
			must(t, ann.Append(name, "", text))
		}
		ann.OK(`SETMETADATA %s (/private/comment "%s")`, name, mark)
	}
	ann.OK(`SETMETADATA %s-box (/shared/comment "%s")`, mark, mark)
	must(t, ann.Append("INBOX", "", "Subject: "+mark+"\r\n\r\n"+mark+"\r\n"))
	ann.OK("SETACL Open u2@example.test lr")
	ann.OK("SETACL Seen u2@example.test l")
	carl.OK("CREATE %s", mark)
	carl.OK("SETACL %s u5@example.test lr", mark)
	before := picture(t, ann)

	bystander := srv.takenWorker(child.IMAPWorker, "u3")
	evil := srv.takenWorker(child.IMAPWorker, "u2")
	const told = "done u19@example.test:Open u19@example.test:Seen"
	srv.eventually("it is told what is shared with it", func() bool { return order(evil, "shares") == told })

	// Owners who share nothing with it, and those who are not there, are alike.
	nobody := order(evil, "reach nobody@example.test")
	for _, owner := range []string{"u20@example.test", "u2@example.test", "u3@example.test", "root", "", "u19", "../u19@example.test", strings.Repeat("x", 600)} {
		got := order(evil, "reach %s", owner)
		if !strings.Contains(got, "not found") || owner == "u20@example.test" && got != nobody {
			t.Errorf("reach %.40q: %q; of nobody: %q", owner, got, nobody)
		}
	}

	var f guestFindings
	must(t, evil.Send("visit u19@example.test "+mark+"\r\n"))
	text, err := evil.LineWithin(2 * time.Minute)
	must(t, err)
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%v: %.300q", err, text)
	}
	if len(f.Leaks) > 0 {
		t.Errorf("it came by what is not granted: %q", f.Leaks)
	}
	if f.Calls < 700 || f.Ends < 100 || f.Answers["list: Open Seen"] != "done" {
		t.Errorf("%d calls, %d channels ended: %v", f.Calls, f.Ends, f.Answers)
	}
	for what, got := range f.Answers {
		if got == "done" && !strings.HasPrefix(what, "list: ") && what != "status Seen" {
			t.Errorf("%s: %s", what, got)
		}
	}
	if now := picture(t, ann); now != before {
		t.Errorf("the owner's mail was\n%s\nand is\n%s", before, now)
	}

	// What it says to master in another's name, or out of turn, ends it at most.
	for i, kind := range []string{"another's name", "a guest", "end of another's guest", "reached", "visit", "a flood", "many questions", "parts"} {
		c := srv.takenWorker(child.IMAPWorker, fmt.Sprint("u", 6+i))
		order(c, "forge %s", kind)
		c.Close()
		if got := order(bystander, "ping"); got != "here" {
			t.Fatalf("%s: another's session says %q", kind, got)
		}
	}
	evil = srv.takenWorker(child.IMAPWorker, "u2")
	got := strings.Fields(order(evil, "shares"))
	// A flood may have told what the floods' own users share, who may do that.
	got = slices.DeleteFunc(got, func(s string) bool {
		return strings.HasSuffix(s, ":MARK") && !strings.HasPrefix(s, "u19@") && !strings.HasPrefix(s, "u20@")
	})
	if strings.Join(got, " ") != told {
		t.Errorf("the list of shares is %q, want %q", got, told)
	}
	if now := picture(t, ann); now != before {
		t.Errorf("the owner's mail was\n%s\nand is\n%s", before, now)
	}
	if order(evil, "reach u20@example.test") != nobody {
		t.Error("an owner who shares nothing is told otherwise now")
	}
}
