package session

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/others"
	"rookery/internal/mailstore/ownnotes"
	"rookery/internal/mailstore/remote/remotetest"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/transcript"
	"rookery/internal/vfs/memfs"
)

// community is some users, each with mail of his own and beside it that of the others,
// as far as they share it. Sessions 1 to 4 are ann's, bob's, carol's and bob's again;
// bob is in the group staff. team's mail is the namespace "Public".
type community struct {
	*peer
	mail    map[string]mailstore.Store
	private bool // each keeps for himself what he has seen of others' mail
	wide    bool
	down    bool // nobody's process can be reached
	seen    map[string]*seenBoxes
	disks   map[string]*memfs.FS // where users keep what they note of others' mail
	abroad  []*others.Store
	byLinks bool // each reaches the others by channels
	links   []*remotetest.Link
	reached int // how often somebody asked for the way to another
}

var (
	sessionsOf = []string{"ann", "bob", "carol", "bob"}
	groupsOf   = map[string][]string{"bob": {"staff"}}
	citizens   = []string{"ann", "bob", "carol", "team"}
)

// openCommunity takes what openBoxes takes, for all or with a user's name before it.
// More lines are
//
//	given: ann acl MAILBOX LINE;LINE;…   as in dovecot-acl
//	given: wide                          imap_acl_allow_anyone
//	given: private                       \Seen is each user's own
//	given: channels                      others' mail comes by channels
func openCommunity(t *testing.T, given []string) transcript.Peer {
	t.Helper()
	c := &community{mail: map[string]mailstore.Store{}, seen: map[string]*seenBoxes{}, disks: map[string]*memfs.FS{}}
	var all, lists []string
	own := map[string][]string{}
	for _, line := range given {
		user, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "wide":
			c.wide = true
		case line == "private":
			c.private = true
		case line == "channels":
			c.byLinks = true
		case !slices.Contains(citizens, user):
			all = append(all, line)
		case strings.HasPrefix(rest, "acl "):
			lists = append(lists, line)
		default:
			own[user] = append(own[user], rest)
		}
	}
	for i, user := range citizens {
		lines := append(slices.Clone(all), fmt.Sprintf("guids %d", 1000*i))
		c.peer = openBoxes(t, append(lines, own[user]...)).(*peer)
		c.mail[user], c.disks[user] = c.store, memfs.New(memfs.Options{})
	}
	for _, line := range lists {
		words := strings.SplitN(line, " ", 4)
		keeper, _ := mailstore.ACLs(c.mail[words[0]])
		list, err := acl.Parse([]byte(strings.ReplaceAll(words[3], ";", "\n")))
		if err == nil {
			err = keeper.EditACL(words[2], func(acl.List) (acl.List, error) { return list, nil })
		}
		if err != nil {
			t.Fatal(line, err)
		}
	}
	users := sessionsOf
	c.Begin = func(out *peers.Output, changes chan struct{}) *Session {
		c.store, users = c.whole(users[0]), users[1:]
		return c.begin(out, changes)
	}
	for n := range sessionsOf {
		c.Session(n + 1)
	}
	return c
}

func (c *community) who(user string) acl.Who { return acl.Who{User: user, Groups: groupsOf[user]} }

// whole is a user's own mail with the others' beside it.
func (c *community) whole(user string) mailstore.Store {
	dir := &memberDirectory{c: c, user: user, lines: map[string]mailstore.Sharer{}}
	who := c.who(user)
	who.Owner = true
	own, _ := guarded.Wrap(c.mail[user], guarded.Options{Who: who, Owner: user, Wide: c.wide})
	var foreign []mailstore.Sharer
	for _, opt := range []others.Options{
		{Namespace: mailstore.Namespace{Kind: mailstore.OtherUsers, Prefix: "Other Users/", Separator: '/', List: true, ListPrefix: true}, Hidden: []string{user, "team"}},
		{Namespace: mailstore.Namespace{Kind: mailstore.Shared, Prefix: "Public/", Separator: '/', Owner: "team", List: true}, Owner: "team"},
	} {
		opt.Directory = dir
		opt.Notes = ownnotes.New(c.disks[user], "", mailstore.AnnotationLimits{})
		s, err := others.Open(opt)
		if err != nil {
			c.t.Fatal(err)
		}
		c.abroad = append(c.abroad, s)
		foreign = append(foreign, s)
	}
	return spaces.Extend(own, foreign...)
}

// memberDirectory is a user's others.Directory, from the lists as they are.
type memberDirectory struct {
	c     *community
	user  string
	lines map[string]mailstore.Sharer
}

func (d *memberDirectory) Shares() (out []others.Share, err error) {
	for owner, s := range d.c.mail {
		if owner == d.user {
			continue
		}
		keeper, _ := mailstore.ACLs(s)
		all, err := s.List()
		if err != nil {
			return nil, err
		}
		for _, f := range all {
			if l, err := keeper.ACL(f.Name); err == nil && l.Rights(d.c.who(d.user)).Has(acl.Lookup) {
				out = append(out, others.Share{Owner: owner, Name: f.Name})
			}
		}
	}
	slices.SortFunc(out, func(a, b others.Share) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

func (d *memberDirectory) Reach(owner string) (mailstore.Sharer, error) {
	d.c.reached++
	if d.c.down {
		return nil, errkind.Newf("reach", errkind.Unavailable, "the process does not start")
	}
	if d.lines[owner] == nil {
		opt := guarded.Options{Who: d.c.who(d.user), Owner: owner, Wide: d.c.wide}
		if d.c.private {
			opt.Private = d.c.keeper(owner, d.user)
		}
		d.lines[owner], _ = guarded.Wrap(d.c.mail[owner], opt)
		if d.c.byLinks {
			link := remotetest.Connect(d.c.t, d.lines[owner], owner)
			d.c.links = append(d.c.links, link)
			d.lines[owner] = link.Client
		}
	}
	return d.lines[owner], nil
}

// seenBoxes keeps what a user has seen of an owner's mailboxes.
type seenBoxes map[mailstore.GUID]guarded.Own

func (c *community) keeper(owner, guest string) *seenBoxes {
	key := owner + "/" + guest
	if c.seen[key] == nil {
		c.seen[key] = &seenBoxes{}
	}
	return c.seen[key]
}

func (s *seenBoxes) Own(box mailstore.GUID, _ uint32) (guarded.Own, error) { return (*s)[box], nil }

func (s *seenBoxes) Change(box mailstore.GUID, _ uint32, change func(guarded.Own) guarded.Own) error {
	(*s)[box] = change((*s)[box])
	return nil
}

// Event has, beside peer's, "down" and "up": no other user's process can be reached,
// and then again.
func (c *community) Event(words string) {
	switch words {
	case "down", "up":
		c.down = words == "down"
	default:
		c.peer.Event(words)
		for _, l := range c.links {
			l.Settle()
		}
		c.Settle()
	}
}

var ofStores = regexp.MustCompile(`(UIDVALIDITY|APPENDUID|COPYUID|MODSEQ|MODSEQ \() ?\d+`)

// Take shows what several stores cannot have alike in all formats as 1.
func (c *community) Take(n int) []byte {
	out := forwarded.ReplaceAll(c.ids.show(c.Peers.Take(n)), nil)
	return ofStores.ReplaceAllFunc(out, func(match []byte) []byte {
		return regexp.MustCompile(`\d+$`).ReplaceAll(match, []byte("1"))
	})
}

// Send is the sessions': nothing is shown otherwise than it is sent. What changed is told
// to all.
func (c *community) Send(n int, b []byte) {
	c.Session(n).Input(c.Now, b)
	for _, l := range c.links {
		l.Settle()
	}
	c.Settle()
	for _, s := range c.abroad {
		for _, owner := range citizens {
			s.Changed(owner)
		}
	}
	c.Settle()
}

func (c *community) Close() {
	c.Peers.Close()
	for _, l := range c.links {
		if err := l.End(); err != nil {
			c.t.Error(err)
		}
	}
	for _, s := range c.mail {
		if err := s.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

func TestSharing(t *testing.T) { everywhereWith(t, "testdata/sharing/*.txt", openCommunity) }
