package acl

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rookery/internal/errkind"
)

func TestRights(t *testing.T) {
	for _, c := range []struct{ in, letters, wire string }{
		{"", "", ""},
		{"lrs", "lrs", "lrs"},
		{"srl", "lrs", "lrs"},
		// RFC 4314 §2.1.1: its own examples, in our order.
		{"lrswida", "lrswitea", "lrswitead"},
		{"lrswikda", "lrswiktea", "lrswikteacd"},
		{"c", "kx", "kxc"},
		{"cx", "kx", "kxc"},
		{"d", "te", "ted"},
		{"t", "t", "td"},
		{"e", "e", "ed"},
		{"k", "k", "kc"},
		{"x", "x", "xc"},
		{"lrswipkxtea", "lrswipkxtea", "lrswipkxteacd"},
	} {
		r, err := ParseRights(c.in)
		if err != nil || r.String() != c.letters || r.Wire() != c.wire {
			t.Errorf("%q is %q, on the wire %q, %v; want %q, %q", c.in, r, r.Wire(), err, c.letters, c.wire)
		}
	}
	for in, want := range map[string]string{"lrQ": "rights are lower-case letters", "lrq": "the right q is not supported", "l1": "the right 1 is not supported",
		"l r": "rights are lower-case letters", "lé": "rights are lower-case letters"} {
		if _, err := ParseRights(in); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	if got := fmt.Sprint(All.Each()); got != fmt.Sprint([]Rights{Lookup, Read, Seen, Write, Insert, Post, Create, Delete, Deleted, Expunge, Admin}) {
		t.Error(got)
	}
	// RFC 4314 §2.2, §5.1.1: RIGHTS= has the rights that RFC 2086 had not, and no other.
	for i := range len(letters) {
		if old := strings.IndexByte("lrswipacd", letters[i]) >= 0; old == (strings.IndexByte(Extra, letters[i]) >= 0) {
			t.Errorf("RIGHTS=%s about %c", Extra, letters[i])
		}
	}
}

func TestChange(t *testing.T) {
	for _, c := range []struct{ change, old, want string }{
		{"lr", "swi", "lr"}, {"", "lr", ""}, {"+", "lr", "lr"}, {"-", "lr", "lr"}, {"+cda", "lrswi", "lrswikxtea"}, {"-d", "lrte", "lr"}, {"-c", "kl", "l"},
	} {
		change, err := ParseChange(c.change)
		old, _ := ParseRights(c.old)
		if got := change.Apply(old).String(); err != nil || got != c.want {
			t.Errorf("%q of %q gives %q, %v; want %q", c.change, c.old, got, err, c.want)
		}
	}
	for _, bad := range []string{"+-l", "l+r", "*", "lrQ"} {
		if _, err := ParseChange(bad); err == nil {
			t.Errorf("%q is a change", bad)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	for wire, want := range map[string]ID{
		"fred": {Kind: User, Name: "fred"}, "-fred": {Kind: User, Name: "fred", Negative: true}, "fred@example.org": {Kind: User, Name: "fred@example.org"},
		"$staff": {Kind: Group, Name: "staff"}, "-$staff": {Kind: Group, Name: "staff", Negative: true}, "!$off": {Kind: GroupOverride, Name: "off"},
		"anyone": {Kind: Anyone}, "authenticated": {Kind: Authenticated}, "owner": {Kind: Owner}, "-anyone": {Kind: Anyone, Negative: true},
		"user=anyone": {Kind: User, Name: "anyone"}, "user=$x": {Kind: User, Name: "$x"}, "group=x": {Kind: Group, Name: "x"}, "user=user=x": {Kind: User, Name: "user=x"},
		"group-override=x": {Kind: GroupOverride, Name: "x"}, "$Domain Users": {Kind: Group, Name: "Domain Users"}, "J\u00f6rg": {Kind: User, Name: "J\u00f6rg"},
		"Jo\u0308rg": {Kind: User, Name: "J\u00f6rg"}, // SASLprep: RFC 4314 §3
		"--fred":     {Kind: User, Name: "-fred", Negative: true}, "$anyone": {Kind: Group, Name: "anyone"}, "Jane Doe": {Kind: User, Name: "Jane Doe"},
	} {
		id, err := ParseID(wire)
		if err != nil || id != want {
			t.Errorf("%q is %+v, %v; want %+v", wire, id, err, want)
		}
		if again, err := ParseID(id.Wire()); err != nil || again != id {
			t.Errorf("%+v is written %q, which is %+v, %v", id, id.Wire(), again, err)
		}
	}
	for _, bad := range []string{"", "-", "$", "!$", "user=", "-group=", "a\nb", "a\tb", "a\x00", "\u00ad", " a", "a ", "$a ", "\xff", "a\u2028b", "a\u200eb", strings.Repeat("x", 256)} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("%q is %+v", bad, id)
		}
	}
	// A blank in a user's name is no wish to make one, only to name what is there.
	id := ID{Kind: User, Name: "Jane Doe"}
	if _, err := (List{}).With(id, Read); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
	l := parse(t, `"user=Jane Doe" lr`)
	if l, err := l.With(id, Read|Lookup|Seen); err != nil || string(l.Format()) != "\"user=Jane Doe\" lrs\n" {
		t.Errorf("%q, %v", l.Format(), err)
	}
}

func parse(t *testing.T, lines ...string) List {
	t.Helper()
	l, err := Parse([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The precedence of Dovecot's documentation, RFC 4314 §2's negative rights, and what
// the owner keeps.
func TestReckoning(t *testing.T) {
	ann, bob, anon := Who{User: "ann", Owner: true}, Who{User: "bob", Groups: []string{"staff", "off"}}, Who{User: "anonymous", Anonymous: true}
	for _, c := range []struct {
		list           string
		ann, bob, anon string
	}{
		{"", "lrswipkxtea", "", ""},
		{"anyone l", "lrswipkxtea", "l", "l"},
		{"anyone lrw;authenticated l", "lrswipkxtea", "l", "lrw"},
		{"anyone lrw;group=staff l", "lrswipkxtea", "l", "lrw"},
		{"group=staff l;group=off r;group=none w", "lrswipkxtea", "lr", ""},
		{"group=staff lrswi;user=bob lr", "lrswipkxtea", "lr", ""},
		{"group=staff lrswi;user=bob", "lrswipkxtea", "", ""},
		{"user=bob lrs;group-override=off", "lrswipkxtea", "", ""},
		{"user=bob lrs;group-override=off l;group-override=staff s", "lrswipkxtea", "ls", ""},
		{"owner lrs", "lrsa", "", ""},
		{"owner ", "lra", "", ""},
		{"user=ann lrw", "lrwa", "", ""},
		{"anyone l;group=staff lr", "lrswipkxtea", "lr", "l"},
		{"owner lrx;user=ann lrw", "lrwa", "", ""},
		{"-owner x", "lrswipktea", "", ""},
		{"-owner lrx", "lrswipktea", "", ""},
		{"-user=ann x;owner lrsx", "lrsa", "", ""},
		{"-anyone lrswipkxtea", "lrswipkxtea", "", ""},
		{"anyone lrw;-user=bob w", "lrswipkxtea", "lr", "lrw"},
		{"user=bob lrw;-anyone w", "lrswipkxtea", "lr", ""},
		{"user=bob lrw;-group=staff w;-user=bob r", "lrswipkxtea", "l", ""},
		{"group-override=staff lrw;-user=bob w", "lrswipkxtea", "lr", ""},
		{"user=anonymous lr", "lrswipkxtea", "", ""},
		// What is not understood grants nothing, and takes all.
		{"anyone lr;user=bob lq", "lrswipkxtea", "lr", "lr"},
		{"anyone lr;-user=carol q", "lrswipkxtea", "", ""},
		{"anyone lr;-ip=10.0.0.1 r", "lrswipkxtea", "", ""},
		{"anyone lr;\"-user=x", "lrswipkxtea", "", ""},
		{"anyone lr;# -anyone r", "lrswipkxtea", "lr", "lr"},
		{"anyone :lookup,read bake", "lrswipkxtea", "lr", "lr"},
	} {
		l := parse(t, strings.Split(c.list, ";")...)
		if got := [3]string{l.Rights(ann).String(), l.Rights(bob).String(), l.Rights(anon).String()}; got != [3]string{c.ann, c.bob, c.anon} {
			t.Errorf("%q gives %q, want %q", c.list, got, [3]string{c.ann, c.bob, c.anon})
		}
	}
}

// naive reckons a second time: for each right alone, from the strongest identifier on.
func naive(entries []Entry, w Who) (out Rights) {
	applies := func(e Entry) bool {
		switch e.Kind {
		case Anyone:
			return true
		case Authenticated:
			return !w.Anonymous
		case User:
			return !w.Anonymous && e.Name == w.User
		case Owner:
			return w.Owner
		}
		return slices.Contains(w.Groups, e.Name)
	}
	for right := Lookup; right <= Admin; right <<= 1 {
		if w.Owner && right&(Lookup|Read|Admin) != 0 {
			out |= right
			continue
		}
		granted, decided := false, false
		for kind := int(GroupOverride); kind >= 0 && !decided; kind-- {
			if w.Owner && kind < int(Owner) {
				break
			}
			for _, e := range entries {
				if int(e.Kind) == kind && !e.Negative && applies(e) {
					decided = true
					granted = granted || e.Rights&right != 0
				}
			}
			if w.Owner && kind == int(Owner) && !decided {
				granted, decided = true, true
			}
		}
		for _, e := range entries {
			if e.Negative && e.Rights&right != 0 && applies(e) && !(w.Owner && e.Kind < Owner) {
				granted = false
			}
		}
		if granted {
			out |= right
		}
	}
	return out
}

func randomID(r *rand.Rand) ID {
	id := ID{Kind: Kind(r.IntN(int(GroupOverride) + 1)), Negative: r.IntN(3) == 0}
	if id.Kind.named() {
		id.Name = []string{"ann", "bob", "staff", "off", "x y", `q"\z`}[r.IntN(6)]
	}
	return id
}

func TestReckoningTwice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50000 {
		var l List
		model := map[ID]Rights{}
		for range r.IntN(8) {
			id, rights := randomID(r), Rights(r.IntN(int(All)+1))
			change := Change{Op: []byte{0, '+', '-'}[r.IntN(3)], Rights: rights}
			next, err := l.Changed(id, change)
			if err != nil { // a name that clients cannot make
				continue
			}
			l = next
			old, there := model[id]
			if !there && id == (ID{Kind: Owner}) {
				old = All
			}
			if there || change.Op != '-' || id == (ID{Kind: Owner}) {
				model[id] = change.Apply(old)
			}
			if r.IntN(5) == 0 {
				gone := randomID(r)
				l, _ = l.Without(gone)
				delete(model, gone)
			}
		}
		var entries []Entry
		for id, rights := range model {
			entries = append(entries, Entry{ID: id, Rights: rights})
		}
		who := Who{User: []string{"ann", "bob", "staff"}[r.IntN(3)], Owner: r.IntN(3) == 0, Anonymous: r.IntN(5) == 0}
		for _, g := range []string{"staff", "off", "ann"} {
			if r.IntN(2) == 0 {
				who.Groups = append(who.Groups, g)
			}
		}
		again, err := Parse(l.Format())
		if err != nil {
			t.Fatal(err)
		}
		want := naive(entries, who)
		if got, read := l.Rights(who), again.Rights(who); got != want || read != want {
			t.Fatalf("%q\n%+v: %s, read back %s, want %s", l.Format(), who, got, read, want)
		}
		if len(l.Entries()) != len(entries) {
			t.Fatalf("%d entries, want %d", len(l.Entries()), len(entries))
		}
	}
}

func TestFile(t *testing.T) {
	text := "# shared since May\nowner lrwstipekxa\n\"user=Jane Doe\" lr\nuser=bob lr :lookup fly,swim\ngarbage here\n-group=g\"x w\nanonymous l \r\nuser=tim \n\nuser=last"
	l := parse(t, text)
	if got := string(l.Format()); got != text+"\n" {
		t.Errorf("what was not changed is written\n%q, want\n%q", got, text)
	}
	var got []string
	for _, e := range l.Entries() {
		got = append(got, fmt.Sprintf("%s %s %v", e.ID, e.Rights, e.Named))
	}
	want := []string{"owner lrswipkxtea []", "Jane Doe lr []", "bob lr [fly swim]", `-$g"x w []`, "anyone l []", "tim  []", "last  []"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, id := range []string{"bob", `-$g"x`, "anyone"} {
		who, err := ParseID(id)
		if err != nil {
			t.Fatal(err)
		}
		if l, err = l.With(who, All&^Admin); err != nil {
			t.Fatal(err)
		}
	}
	l, ok := l.Without(ID{Kind: User, Name: "tim"})
	if _, twice := l.Without(ID{Kind: User, Name: "tim"}); !ok || twice {
		t.Error("tim")
	}
	if l, err := l.With(ID{Kind: Group, Name: `new "one"\`}, Read); err != nil {
		t.Error(err)
	} else if got, want := string(l.Format()), "# shared since May\nowner lrwstipekxa\n\"user=Jane Doe\" lr\nuser=bob lrwstipekx :fly swim\ngarbage here\n"+
		"\"-group=g\\\"x\" lrwstipekx\nanyone lrwstipekx\n\nuser=last\n\"group=new \\\"one\\\"\\\\\" r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(l.Inherited().Format()); strings.Contains(got, "#") || strings.Contains(got, "garbage") || !strings.Contains(got, "owner") {
		t.Errorf("inherited: %q", got)
	}
	doubt := parse(t, "anyone lr", "-nobody knows")
	if !doubt.Doubtful() || !doubt.Inherited().Doubtful() || doubt.Grants() || parse(t, string(doubt.Inherited().Format())).Doubtful() != true {
		t.Error("a line that takes something away is lost")
	}
	// An identifier that stands there twice has both.
	twice := parse(t, "user=a l :x", "user=a r :y", "-user=a s")
	if got := string(twice.Format()); got != "user=a lr :x y\n-user=a s\n" {
		t.Errorf("%q", got)
	}
}

func TestBounds(t *testing.T) {
	var many []string
	for i := range MaxEntries {
		many = append(many, fmt.Sprintf("user=u%d lr", i))
	}
	l := parse(t, many...)
	if _, err := l.With(ID{Kind: User, Name: "more"}, Read); !errkind.Is(err, errkind.Limit) {
		t.Error(err)
	}
	if _, err := l.With(ID{Kind: User, Name: "u7"}, Read); err != nil {
		t.Error(err)
	}
	for _, text := range []string{strings.Join(many, "\n") + "\nuser=more l", strings.Repeat("#\n", maxLines+1), strings.Repeat("x", MaxFile+1)} {
		if _, err := Parse([]byte(text)); !errkind.Is(err, errkind.TooBig) {
			t.Error(err)
		}
	}
	if l, err := Parse([]byte("user=" + strings.Repeat("x", 300) + " lr")); err != nil || len(l.Entries()) != 0 {
		t.Error("a name that is too long is served")
	}
}

func TestShown(t *testing.T) {
	show := func(l List) string {
		var out []string
		for _, e := range l.Shown() {
			out = append(out, e.ID.Wire()+" "+e.Rights.String())
		}
		return strings.Join(out, ", ")
	}
	for list, want := range map[string]string{
		"":            "owner lrswipkxtea",
		"owner s":     "owner lrsa",
		"user=ann lr": "owner lrswipkxtea, ann lr",
		"anyone l;group=b r;group=a r;user=z r;user=b r;-user=b w;authenticated l;group-override=o ;owner lx": "owner lrxa, !$o , b r, -b w, z r, $a r, $b r, authenticated l, anyone l",
	} {
		if got := show(parse(t, strings.Split(list, ";")...)); got != want {
			t.Errorf("%q shows %q, want %q", list, got, want)
		}
	}
}

func TestGrantable(t *testing.T) {
	for _, c := range []struct {
		id          string
		wide        bool
		always, can string
	}{
		{"bob", false, "", "lrswipkxteacd"}, {"-bob", false, "", "lrswipkxteacd"}, {"owner", false, "lra", "swipkxtecd"}, {"ann", false, "lra", "swipkxtecd"},
		{"-ann", false, "", "lrswipkxteacd"}, {"anyone", false, "", ""}, {"anyone", true, "", "lrswipkxteacd"}, {"authenticated", false, "", ""}, {"-anyone", false, "", "lrswipkxteacd"},
	} {
		id, err := ParseID(c.id)
		if err != nil {
			t.Fatal(err)
		}
		if always, can := Grantable(id, "ann", c.wide); always.String() != c.always || can.Wire() != c.can {
			t.Errorf("%s: %q, %q", c.id, always.Wire(), can.Wire())
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"owner lrwstipekxa\nuser=timo lr\n", "\"user=a b\\\"\" lr :x y", "-anyone w\n-q z", "# c\n\nanonymous l", "user= l\n=\n:\n \n\"", "group-override=x\ngroup=x :read"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data)
		if err != nil {
			return
		}
		again, err := Parse(l.Format())
		if err != nil {
			t.Fatalf("%q is written %q: %v", data, l.Format(), err)
		}
		if string(again.Format()) != string(l.Format()) || again.Doubtful() != l.Doubtful() {
			t.Fatalf("%q: %q, then %q", data, l.Format(), again.Format())
		}
		for _, w := range []Who{{User: "a"}, {User: "a", Owner: true}, {User: "a", Groups: []string{"x"}}, {Anonymous: true}} {
			if l.Rights(w) != again.Rights(w) {
				t.Fatalf("%q: %v", data, w)
			}
			if !l.Doubtful() && l.Rights(w) != naive(l.Entries(), w) {
				t.Fatalf("%q: %v has %s, want %s", data, w, l.Rights(w), naive(l.Entries(), w))
			}
			if !w.Owner && l.Doubtful() && l.Rights(w) != 0 {
				t.Fatalf("%q grants %s", data, l.Rights(w))
			}
		}
		// Each entry can be written by us, and is the same.
		for _, e := range l.Entries() {
			out, err := l.With(e.ID, e.Rights)
			if err != nil {
				t.Fatal(err)
			}
			read, err := Parse(out.Format())
			if r, ok := read.Get(e.ID); err != nil || !ok || r != e.Rights {
				t.Fatalf("%q: %+v is written %q", data, e, out.Format())
			}
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"fred", "-$a", "!$b", "user=x", "anyone", "é", "-", "--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		id, err := ParseID(wire)
		if err != nil {
			return
		}
		if again, err := ParseID(id.Wire()); err != nil || again != id {
			t.Fatalf("%q is %+v, written %q, which is %+v, %v", wire, id, id.Wire(), again, err)
		}
		if l, err := (List{}).With(id, Read); err == nil {
			if again, err := Parse(l.Format()); err != nil || len(again.Entries()) != 1 || again.Entries()[0].ID != id {
				t.Fatalf("%q is written %q", wire, l.Format())
			}
		}
	})
}
