package tools

import (
	"fmt"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// What a guest has seen of a user's mailbox, and what each noted of it, is there after
// conversions of either one's mail, and after the old mail was taken away.
func TestConvertKeepsGuests(t *testing.T) {
	private := strings.Replace(others, `type = "shared"`, "type = \"shared\"\nseen = \"private\"", 1)
	d := harness.StartWith(t, []string{private}, "--users", "2", "--empty")
	ann, bob := d.Dial("imap"), d.Dial("imap")
	ann.Login("u1")
	bob.Login("u2")
	ann.OK("CREATE Team")
	for i := range 3 {
		if err := ann.Append("Team", "", fmt.Sprintf("Subject: %d\r\n\r\nhello\r\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	ann.OK("SETACL Team u2@example.test lrs")
	wantListed(t, d, "shared", bob, "Team")
	const team = `"Other Users/u1@example.test/Team"`
	ann.OK(`SETMETADATA Team (/shared/comment "for all" /private/comment "hers")`)
	bob.OK(`SETMETADATA %s (/private/comment "his")`, team)
	bob.OK("SELECT %s", team)
	bob.OK(`STORE 2 +FLAGS (\Seen)`)
	in := func(user string) (c *harness.Client) {
		d.Eventually("the user is let in", func() bool {
			c = d.Dial("imap")
			c.ExpectPrefix("* OK ")
			lines := c.IMAP("LOGIN %s pass", user)
			return strings.Contains(lines[len(lines)-1], " OK ")
		})
		return c
	}
	shown := func() string {
		ann, bob := in("u1"), in("u2")
		defer ann.Close()
		defer bob.Close()
		wantListed(t, d, "after a conversion", bob, "Team")
		var out []string
		out = append(out, ann.OK("STATUS Team (MESSAGES UNSEEN)")...)
		out = append(out, ann.OK("GETMETADATA Team (/private/comment /shared/comment)")...)
		out = append(out, bob.OK("STATUS %s (MESSAGES UNSEEN)", team)...)
		out = append(out, bob.OK("GETMETADATA %s (/private/comment /shared/comment)", team)...)
		bob.OK("SELECT %s", team)
		out = append(out, bob.OK("SEARCH SEEN")...)
		text := ""
		for _, line := range out {
			if strings.HasPrefix(line, "* ") && !strings.HasPrefix(line, "* LIST") {
				text += line + "\n"
			}
		}
		return text
	}
	want := "* STATUS Team (MESSAGES 3 UNSEEN 3)\n* METADATA Team (/private/comment \"hers\" /shared/comment \"for all\")\n* STATUS " + team +
		" (MESSAGES 3 UNSEEN 2)\n* METADATA " + team + " (/private/comment \"his\" /shared/comment \"for all\")\n* SEARCH 2\n"
	if got := shown(); got != want {
		t.Fatalf("before:\n%swant\n%s", got, want)
	}
	for _, step := range [][2]string{{"u1", "pack"}, {"u2", "mbox"}, {"u1", "maildir"}} {
		ctl(t, d, 0, "convert", "-u", step[0], "--to", step[1])
		ctl(t, d, 0, "convert", "-u", step[0], "--discard-old")
		if got := shown(); got != want {
			t.Errorf("%s as %s:\n%swant\n%s", step[0], step[1], got, want)
		}
	}
	d.NoCrash(t)
}
