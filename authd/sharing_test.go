package authd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
)

const sharers = `ann:{PLAIN}pass:1000:1001::/srv/mail/ann::
bob:{PLAIN}pass:1002:1002::/h::userdb_acl_groups=staff,team
carl:{PLAIN}pass:1003:1003::/h::
root:{PLAIN}pass:0:0::/root::
`

// give passes the list's files as master does.
func (r *rig) give() {
	r.t.Helper()
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(r.dir, "shares-"+name)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.master.Send(&redeemmsg.File{Use: "shares", Name: name, Path: path}, int(f.Fd())); err != nil {
			r.t.Fatal(err)
		}
		f.Close()
	}
}

func (r *rig) publish(owner string, boxes ...redeemmsg.Published) string {
	r.t.Helper()
	r.send(r.master, &redeemmsg.Publish{Owner: owner, Source: 1, First: true, Last: true, Boxes: boxes})
	m := r.recv(r.master).(*redeemmsg.PublishSeen)
	return fmt.Sprintf("%s %t %v %t %s", m.Owner, m.Changed, m.Users, m.All, m.Problem)
}

func (r *rig) sharesOf(user string) string {
	r.t.Helper()
	r.send(r.master, &redeemmsg.SharesOf{ID: 5, User: user})
	out := ""
	for {
		m := r.recv(r.master).(*redeemmsg.Shares)
		for _, b := range m.Boxes {
			out += b.Owner + ":" + b.Name + " "
		}
		if m.Last {
			return out + m.Text
		}
	}
}

func (r *rig) visit(guest, owner string) ipc.Message {
	r.t.Helper()
	r.send(r.master, &redeemmsg.Visit{ID: 6, Guest: guest, Owner: owner})
	return r.recv(r.master)
}

func box(name string, entries ...string) redeemmsg.Published {
	return redeemmsg.Published{Name: name, Entries: entries}
}

func TestSharing(t *testing.T) {
	r := newRig(t, func(set *settings.Set) { settings.ACLGroups.Put(set, []string{"all"}) })
	r.write("users", sharers)
	r.give()
	for _, c := range []struct{ got, want string }{
		{r.publish("ann", box("INBOX", "user=bob lr"), box("Team", "group=staff l"), box("All", "group=all lr")), "ann true [] true "},
		{r.publish("ann", box("INBOX", "user=bob lr"), box("Team", "group=staff l"), box("All", "group=all lr")), "ann false [] false "},
		{r.publish("root", box("INBOX", "user=bob lr")), "root true [bob] false "},
		{r.publish("gone", box("INBOX", "user=bob lr")), "gone true [bob] false "},
		{r.publish("carl", box("A\x00", "user=bob lr")), "carl false [] false list of shares: invalid: a mailbox's name that cannot be"},
		{r.sharesOf("bob"), "ann:INBOX ann:Team gone:INBOX root:INBOX "}, // the userdb's groups replace the setting's
		{r.sharesOf("carl"), "ann:All "},
		{r.sharesOf("ann"), ""},
		{r.sharesOf("nobody"), ""},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	v, ok := r.visit("bob", "ann").(*redeemmsg.Visited)
	if !ok || v.Owner.User != "ann" || v.Owner.UID != 1000 || v.Owner.Home != "/srv/mail/ann" || !slices.Equal(v.Groups, []string{"staff", "team"}) {
		t.Errorf("%+v", v)
	}
	// An owner who is not there, one who shares nothing, one who shares nothing with
	// this guest, one who is gone: all alike.
	want := show(r.visit("bob", "nobody"))
	for _, c := range [][2]string{{"bob", "carl"}, {"bob", "bob"}, {"nobody", "ann"}, {"carl", "root"}, {"bob", "gone"}, {"bob", ""}} {
		if got := show(r.visit(c[0], c[1])); got != want || !strings.HasPrefix(got, "failed not found") {
			t.Errorf("%s at %s: %s, want %s", c[0], c[1], got, want)
		}
	}
	if got := show(r.visit("bob", "root")); !strings.HasPrefix(got, "failed unavailable") { // uid 0
		t.Error(got)
	}
	r.log.take()
}

// What was told is there after a restart, kill -9 or not, and after damage the log
// says what to do.
func TestSharingOverRestarts(t *testing.T) {
	first := newRig(t, nil)
	first.write("users", sharers)
	first.give()
	first.publish("ann", box("INBOX", "user=bob lr"))
	first.wantLog("Info: a list of shares is begun. If users have shared mailboxes before, run: rookeryctl shares --rebuild")
	first.stop()
	first.done <- nil // for the cleanup

	again := newRig(t, nil)
	again.write("users", sharers)
	again.dir = first.dir
	again.give()
	if got := again.sharesOf("bob"); got != "ann:INBOX " {
		t.Errorf("after a restart: %q", got)
	}
	again.wantLog()
	again.stop()
	again.done <- nil

	path := filepath.Join(first.dir, "shares-a")
	info, err := os.Stat(path)
	if err != nil || info.Size() < 30 {
		t.Fatal(info, err)
	}
	if err := os.Truncate(path, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	torn := newRig(t, nil)
	torn.write("users", sharers)
	torn.dir = first.dir
	torn.give()
	if got := torn.sharesOf("bob"); got != "" {
		t.Errorf("of a torn record: %q", got)
	}
	if got := torn.log.take(); len(got) != 1 || !strings.HasPrefix(got[0], "Error: the list of shares in ") || !strings.Contains(got[0], "rookeryctl shares --rebuild") {
		t.Errorf("%q", got)
	}
}

// Who there is, as far as it can be told; and owners who are not any more leave the
// list, but not where a userdb cannot be asked.
func TestListUsers(t *testing.T) {
	path, err := settings.ParseTemplate("/nowhere/%{user | domain}/users", []string{"user"})
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []bool{false, true} {
		r := newRig(t, func(set *settings.Set) {
			if broken {
				set.PutRow("userdb", settings.Row{Name: "domains", Values: map[string]any{"driver": "passwd-file", "passwd_file_path": path}})
			}
		})
		r.write("users", sharers+"system:{PLAIN}x:7:7::/::\nzoe:{PLAIN}x:1005:1005::/h::\n")
		r.give()
		r.publish("ann", box("INBOX", "user=bob lr"))
		r.publish("gone", box("INBOX", "user=bob lr"))
		r.send(r.master, &redeemmsg.ListUsers{ID: 9})
		m := r.recv(r.master).(*redeemmsg.Users)
		if !slices.Equal(m.Names, []string{"ann", "bob", "carl", "zoe"}) || !m.Last || m.ID != 9 {
			t.Errorf("%+v", m)
		}
		unlisted, want := []string(nil), "ann:INBOX "
		if broken {
			unlisted, want = []string{"domains"}, "ann:INBOX gone:INBOX "
		}
		if !slices.Equal(m.Unlisted, unlisted) {
			t.Errorf("unlisted: %q", m.Unlisted)
		}
		if got := r.sharesOf("bob"); got != want {
			t.Errorf("bob sees %q", got)
		}
		r.log.take()
	}
}
