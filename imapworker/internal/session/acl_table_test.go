package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rookery/internal/acl"
)

// The tagged answers of the table, up to where their text begins.
const (
	fine      = "OK"
	absent    = "NO [NONEXISTENT] Mailbox does not exist."
	forbidden = "NO [NOPERM] Permission denied."
	creatable = "NO [TRYCREATE] Mailbox does not exist."
	onlyRead  = "NO Mailbox is open read-only."
)

// changes are the rights of which one makes a mailbox READ-WRITE (RFC 4314 §5.2).
const changes = acl.Insert | acl.Expunge | acl.Write | acl.Seen | acl.Deleted

// with is the answer of a command that needs rights, hidden that without l.
func with(want acl.Rights, hidden string) func(acl.Rights) string {
	return func(has acl.Rights) string {
		switch {
		case !has.Has(acl.Lookup):
			return hidden
		case !has.Has(want):
			return forbidden
		}
		return fine
	}
}

// writing is the answer of a command on the selected mailbox.
func writing(want acl.Rights) func(acl.Rights) string {
	return func(has acl.Rights) string {
		switch {
		case has&changes == 0:
			return onlyRead
		case !has.Has(want):
			return forbidden
		}
		return fine
	}
}

func always(answer string) func(acl.Rights) string { return func(acl.Rights) string { return answer } }

// making is the answer where something is made below a mailbox: the same whether it is
// there or not.
func making(has acl.Rights) string {
	if has.Has(acl.Lookup | acl.Create) {
		return fine
	}
	return forbidden
}

// aclTable are the commands that a right is for (RFC 4314 §4, RFC 6851 §4.2, RFC 8508
// §4.1). in is the mailbox that is selected; those with Box need "lr" to get so far.
var aclTable = []struct {
	in, line string
	want     func(has acl.Rights) string
	owner    string // the owner's answer, where it is another
}{
	{line: "STATUS Box (MESSAGES)", want: with(acl.Read, absent)},
	{line: "SELECT Box", want: with(acl.Read, absent)},
	{line: "EXAMINE Box", want: with(acl.Read, absent)},
	{line: `LIST "" Box`, want: always(fine)},
	{line: `LIST "" Box RETURN (MYRIGHTS STATUS (MESSAGES))`, want: always(fine)},
	{line: `LSUB "" Box`, want: always(fine)},
	{line: "SUBSCRIBE Box", want: func(has acl.Rights) string {
		if has.Has(acl.Lookup) {
			return forbidden // a grantee's subscriptions are kept with his own mail
		}
		return absent
	}, owner: fine},
	{line: "UNSUBSCRIBE Box", want: always(fine)},
	{line: "CREATE Box/new", want: making},
	{line: "RENAME Full Box/new", want: making},
	{line: "DELETE Box", want: with(acl.Delete, absent)},
	{line: "RENAME Box Full/new", want: with(acl.Delete, absent)},
	{line: "APPEND Box (\\Seen \\Deleted x) {6+}\r\na: b\r\n", want: with(acl.Insert, creatable)},
	{line: "GETACL Box", want: with(acl.Admin, absent)},
	{line: "SETACL Box tim lr", want: with(acl.Admin, absent)},
	{line: "DELETEACL Box tim", want: with(acl.Admin, absent)},
	{line: "LISTRIGHTS Box tim", want: with(acl.Admin, absent)},
	{line: "MYRIGHTS Box", want: with(0, absent)},
	{"Box", "NOOP", always(fine), ""},
	{"Box", "FETCH 1 (FLAGS BODY[])", always(fine), ""},
	{"Box", "SEARCH ALL", always(fine), ""},
	{"Box", "STORE 1 +FLAGS (\\Seen)", writing(acl.Seen), ""},
	{"Box", "STORE 1 -FLAGS (\\Deleted)", writing(acl.Deleted), ""},
	{"Box", "STORE 1 +FLAGS.SILENT (\\Flagged)", writing(acl.Write), ""},
	{"Box", "UID STORE 1 +FLAGS (x)", writing(acl.Write), ""},
	{"Box", "EXPUNGE", writing(acl.Expunge), ""},
	{"Box", "UID EXPUNGE 1", writing(acl.Expunge), ""},
	{"Box", "CLOSE", always(fine), ""},
	{"Box", "UNSELECT", always(fine), ""},
	{"Box", "COPY 1 Full", always(fine), ""},
	{"Box", "MOVE 1 Full", writing(acl.Deleted | acl.Expunge), ""},
	{"Box", "UID MOVE 1 Full", writing(acl.Deleted | acl.Expunge), ""},
	{"Box", "REPLACE 1 Full {6+}\r\na: b\r\n", writing(acl.Deleted | acl.Expunge), ""},
	{"Full", "COPY 1 Box", with(acl.Insert, creatable), ""},
	{"Full", "UID COPY 1 Box", with(acl.Insert, creatable), ""},
	{"Full", "MOVE 1 Box", with(acl.Insert, creatable), ""},
	{"Full", "REPLACE 1 Box {6+}\r\na: b\r\n", with(acl.Insert, creatable), ""},
}

// aclUsers are the ways in which somebody has rights: which session is his, what the
// list says, and what he has by it.
var aclUsers = []struct {
	name    string
	session int
	list    func(r acl.Rights) string
	has     func(r acl.Rights) acl.Rights
}{
	{"owner", 1, func(r acl.Rights) string { return "owner " + r.String() }, func(r acl.Rights) acl.Rights { return r | acl.OwnerAlways }},
	{"granted", 2, func(r acl.Rights) string { return "user=bob " + r.String() + ";anyone lrswipkxtea" }, nil},
	{"negative", 2, func(r acl.Rights) string { return "user=bob lrswipkxtea;-user=bob " + (acl.All &^ r).String() }, nil},
	{"group", 2, func(r acl.Rights) string { return "group=staff " + r.String() + ";anyone lrswipkxtea" }, nil},
	{"none", 2, func(r acl.Rights) string { return "user=carol " + r.String() }, func(acl.Rights) acl.Rights { return 0 }},
}

// Every command with many sets of rights, for all kinds of users. What may not be known
// of is answered as what is not there, to the letter.
func TestACLTable(t *testing.T) {
	step := acl.Rights(17)
	if testing.Short() {
		step = 101
	}
	for _, u := range aclUsers {
		t.Run(u.name, func(t *testing.T) {
			for r := acl.Rights(0); r <= acl.All; r += step {
				has := r
				if u.has != nil {
					has = u.has(r)
				}
				given := []string{"mailbox INBOX 0", "mailbox Box 2", "mailbox Full 1", "acl Box " + u.list(r), "acl Full user=bob lrswipkxtea"}
				for _, c := range aclTable {
					if c.in == "Box" && !has.Has(acl.Lookup|acl.Read) {
						continue
					}
					got := answers(t, given, u.session, c.in, c.line)
					want := c.want(has)
					if u.session == 1 && c.owner != "" {
						want = c.owner
					}
					last := got[len(got)-1]
					if want == fine && !strings.HasPrefix(last, "b OK") || want != fine && last != "b "+want {
						t.Fatalf("%s %s with %q: %q, want %q", c.in, c.line, has, last, want)
					}
					if has.Has(acl.Lookup) {
						continue
					}
					other := strings.ReplaceAll(c.line, "Box", "Nil")
					for i, l := range got {
						got[i] = strings.ReplaceAll(l, "Box", "Nil")
					}
					if nothing := answers(t, given, u.session, c.in, other); !slices.Equal(got, nothing) {
						t.Fatalf("%s with %q: %q, of a mailbox that is not there %q", c.line, has, got, nothing)
					}
				}
			}
		})
	}
}

// answers gives the lines that a command gets.
func answers(t *testing.T, given []string, session int, in, line string) []string {
	t.Helper()
	p := openShared(t, given).(*peer)
	defer p.Close()
	p.Session(1)
	if in != "" {
		p.Send(session, []byte("a SELECT "+in+"\r\n"))
		if got := string(p.Take(session)); !strings.Contains(got, "a OK") {
			t.Fatalf("SELECT %s: %s", in, got)
		}
	}
	p.Send(session, []byte("b "+line+"\r\n"))
	return strings.Split(strings.TrimSuffix(string(p.Take(session)), "\r\n"), "\r\n")
}

// What SELECT tells of rights, what a FETCH marks, and what CLOSE expunges.
func TestACLSelected(t *testing.T) {
	for r := acl.Rights(0); r <= acl.All; r += 3 {
		has := r | acl.Lookup | acl.Read
		given := []string{"mailbox INBOX 0", "mailbox Box 2", "acl Box user=bob " + has.String()}
		var permanent []string
		for _, f := range []struct {
			right acl.Rights
			flag  string
		}{{acl.Write, `\Answered`}, {acl.Write, `\Flagged`}, {acl.Deleted, `\Deleted`}, {acl.Seen, `\Seen`}, {acl.Write, `\Draft`}, {acl.Write, `\*`}} {
			if has.Has(f.right) {
				permanent = append(permanent, f.flag)
			}
		}
		code := "READ-WRITE"
		if has&changes == 0 {
			code = "READ-ONLY"
		}
		p := openShared(t, given).(*peer)
		p.Send(1, []byte("a SELECT Box\r\na STORE 1 +FLAGS (\\Deleted)\r\na UNSELECT\r\n"))
		p.Send(2, []byte("b SELECT Box\r\n"))
		got := string(p.Take(2))
		for _, want := range []string{fmt.Sprintf("[PERMANENTFLAGS (%s)]", strings.Join(permanent, " ")), "b OK [" + code + "]"} {
			if !strings.Contains(got, want) {
				t.Fatalf("%s: %s\nwant %s", has, got, want)
			}
		}
		p.Send(2, []byte("b FETCH 2 (BODY[TEXT])\r\nb CLOSE\r\n"))
		if got := string(p.Take(2)); !strings.HasSuffix(got, "b OK Fetch completed.\r\nb OK Close completed.\r\n") || strings.Contains(got, `\Seen`) != has.Has(acl.Seen) {
			t.Fatalf("%s: %s", has, got)
		}
		left, unseen := 2, 2
		if has.Has(acl.Expunge) {
			left, unseen = 1, 1
		}
		if has.Has(acl.Seen) {
			unseen--
		}
		p.Take(1)
		p.Send(1, []byte("a STATUS Box (MESSAGES UNSEEN)\r\n"))
		if got, want := string(p.Take(1)), fmt.Sprintf("(MESSAGES %d UNSEEN %d)", left, unseen); !strings.Contains(got, want) {
			t.Fatalf("%s: %s, want %s", has, got, want)
		}
		p.Close()
	}
}
