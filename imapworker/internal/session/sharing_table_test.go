package session

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"rookery/internal/acl"
)

var (
	tableNames = regexp.MustCompile(`\b(Box|Full|Nil)(/new)?`)
	unheld     = "NO [CANNOT] That cannot be done with this mailbox."
	elsewhere  = "NO [CANNOT] A mailbox cannot be renamed into another namespace; create one there and move the messages."
)

// abroadAs writes the names of the ACL table as bob has them: Box and Nil are ann's,
// Full is where full says.
func abroadAs(line, full string) string {
	return tableNames.ReplaceAllStringFunc(line, func(name string) string {
		if strings.HasPrefix(name, "Full") {
			return `"` + full + name + `"`
		}
		return `"Other Users/ann/` + name + `"`
	})
}

// abroadWant is the answer of the table for another's mailbox: subscriptions are one's
// own, and nothing is renamed from one user to another.
func abroadWant(line, full string, has acl.Rights, want string) string {
	switch {
	case line == "SUBSCRIBE Box" && has.Has(acl.Lookup):
		return fine
	case !strings.HasPrefix(line, "RENAME") || full == "Other Users/ann/":
		return want
	case full == "":
		return elsewhere
	case strings.HasPrefix(line, "RENAME Box") && !has.Has(acl.Lookup):
		return absent
	}
	return unheld
}

// Every command of the ACL table with many sets of rights, from a user in his namespace
// "Other Users": what Full is is another mailbox of the owner's, one of a third user's,
// or his own. What he may not know of is answered as what is not there, to the letter.
func TestSharingTable(t *testing.T) {
	step := acl.Rights(101)
	if testing.Short() {
		step = 331
	}
	for _, u := range aclUsers[1:] {
		for where, full := range map[string]string{"owner": "Other Users/ann/", "third": "Other Users/carol/", "own": ""} {
			t.Run(u.name+" "+where, func(t *testing.T) {
				t.Parallel()
				for r := acl.Rights(0); r <= acl.All; r += step {
					has := r
					if u.has != nil {
						has = u.has(r)
					}
					for _, c := range aclTable {
						if c.in == "Box" && !has.Has(acl.Lookup|acl.Read) {
							continue
						}
						want := abroadWant(c.line, full, has, c.want(has))
						got := abroadAnswers(t, u.list(r), c.in, c.line, full)
						last := got[len(got)-1]
						if want == fine && !strings.HasPrefix(last, "b OK") || want != fine && last != "b "+want {
							t.Fatalf("%s %s with %q: %q, want %q", c.in, c.line, has, last, want)
						}
						if has.Has(acl.Lookup) {
							continue
						}
						nothing := abroadAnswers(t, u.list(r), c.in, strings.ReplaceAll(c.line, "Box", "Nil"), full)
						for i, l := range got {
							got[i] = strings.ReplaceAll(l, "Box", "Nil")
						}
						if !slices.Equal(got, nothing) {
							t.Fatalf("%s with %q: %q, of a mailbox that is not there %q", c.line, has, got, nothing)
						}
					}
				}
			})
		}
	}
}

// abroadAnswers gives the lines that bob gets.
func abroadAnswers(t *testing.T, list, in, line, full string) []string {
	t.Helper()
	given := []string{"ann mailbox INBOX 0", "ann mailbox Box 2", "ann acl Box " + list}
	for _, user := range []string{"ann", "bob", "carol"} {
		given = append(given, user+" mailbox Full 1", user+" acl Full user=bob lrswipkxtea")
	}
	c := openCommunity(t, given).(*community)
	defer c.Close()
	if in != "" {
		c.Send(2, []byte("a SELECT "+abroadAs(in, full)+"\r\n"))
		if got := string(c.Take(2)); !strings.Contains(got, "a OK") {
			t.Fatalf("SELECT %s: %s", in, got)
		}
	}
	c.Send(2, []byte("b "+abroadAs(line, full)+"\r\n"))
	return strings.Split(strings.TrimSuffix(string(c.Take(2)), "\r\n"), "\r\n")
}
