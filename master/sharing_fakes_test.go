package master

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
)

// sharing is the fake authd's list: a mailbox is for whoever is named in it, and for
// those in the group that is. "bob" is in "staff".
func (f *fakeAuthdProc) sharing(m ipc.Message) {
	groups := func(user string) []string {
		if user == "bob" {
			return []string{"staff"}
		}
		return nil
	}
	sees := func(user string, p redeemmsg.Published) bool {
		return slices.Contains(p.Entries, "user="+user+" l") || len(groups(user)) > 0 && slices.Contains(p.Entries, "group=staff l")
	}
	switch m := m.(type) {
	case *redeemmsg.Publish:
		seen := &redeemmsg.PublishSeen{Owner: m.Owner, Changed: m.Last}
		if m.First {
			f.shares[m.Owner] = nil
		}
		f.shares[m.Owner] = append(f.shares[m.Owner], m.Boxes...)
		for _, p := range m.Boxes {
			for _, e := range p.Entries {
				if user, ok := strings.CutPrefix(strings.TrimSuffix(e, " l"), "user="); ok {
					seen.Users = append(seen.Users, user)
				}
			}
		}
		if len(m.Boxes) > 0 && m.Boxes[0].Name == "bad" {
			seen.Problem = "as the test wants"
		}
		f.ctl.Send(seen, -1)
	case *redeemmsg.SharesOf:
		var names []string
		for owner := range f.shares {
			names = append(names, owner)
		}
		slices.Sort(names)
		for _, owner := range names {
			for _, p := range f.shares[owner] {
				if owner != m.User && sees(m.User, p) {
					f.ctl.Send(&redeemmsg.Shares{ID: m.ID, Boxes: []redeemmsg.Shared{{Owner: owner, Name: p.Name}}}, -1)
				}
			}
		}
		f.ctl.Send(&redeemmsg.Shares{ID: m.ID, Last: true}, -1)
	case *redeemmsg.Visit:
		if !slices.ContainsFunc(f.shares[m.Owner], func(p redeemmsg.Published) bool { return sees(m.Guest, p) }) {
			f.ctl.Send(&redeemmsg.Failed{ID: m.ID, Kind: errkind.NotFound, Text: "nothing"}, -1)
			return
		}
		f.ctl.Send(&redeemmsg.Visited{ID: m.ID, Owner: f.record(m.Owner, netip.AddrPort{}), Groups: groups(m.Guest)}, -1)
	}
}

type sharingAnswer struct {
	m  ipc.Message
	fd int
}

// sharing does what a session's line asks for, and says what came of it; false if it
// is another line.
func (w *fakeWorkerProc) sharing(c net.Conn, words []string) bool {
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "REACH":
		w.ctl.Send(&workermsg.Reach{ID: 5, Owner: words[1]}, -1)
		a := <-w.answers
		if a.fd < 0 {
			m := a.m.(*workermsg.Reached)
			fmt.Fprintf(c, "NO %v: %s\n", m.Kind, m.Text)
			return true
		}
		go echo(c, a.fd)
	case "SHARES":
		w.ctl.Send(&workermsg.AskShares{ID: 6}, -1)
		out := "SHARES"
		for {
			m := (<-w.answers).m.(*workermsg.Shares)
			for _, b := range m.Boxes {
				out += " " + b.Owner + "/" + b.Name
			}
			if m.Last {
				fmt.Fprintf(c, "%s %s\n", out, m.Text)
				return true
			}
		}
	case "PUBLISH": // mailbox and user in turn
		m := &workermsg.Publish{First: true, Last: true}
		for i := 1; i+1 < len(words); i += 2 {
			m.Boxes = append(m.Boxes, workermsg.Published{Name: words[i], Entries: []string{words[i+1] + " l"}})
		}
		w.ctl.Send(m, -1)
		fmt.Fprintln(c, "PUBLISHED")
	case "CHANGES":
		fmt.Fprintf(c, "CHANGES %d\n", w.changes.Load())
	case "FLOOD":
		for range 200 {
			w.ctl.Send(&workermsg.Publish{First: true, Last: true}, -1)
		}
	case "FOREIGN":
		w.ctl.Send(&workermsg.GuestEnded{ID: 4711}, -1)
	default:
		return false
	}
	return true
}

// echo shows a client what comes on a channel.
func echo(c net.Conn, fd int) {
	f := os.NewFile(uintptr(fd), "channel")
	defer f.Close()
	unix.SetNonblock(fd, false)
	b := make([]byte, 1000)
	for {
		n, err := unix.Read(fd, b)
		if n <= 0 || err != nil {
			fmt.Fprintln(c, "CHANNEL ENDED")
			return
		}
		fmt.Fprintf(c, "CHANNEL %s\n", b[:n])
	}
}

// guest greets a guest and keeps him until he goes or must.
func (w *fakeWorkerProc) guest(m *workermsg.Guest, fd int, end <-chan struct{}) {
	defer w.wg.Done()
	f := os.NewFile(uintptr(fd), "guest")
	fmt.Fprintf(f, "welcome %s %v to %s", m.User, m.Groups, w.user)
	gone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, f)
		close(gone)
	}()
	select {
	case <-gone:
	case <-end:
	}
	f.Close()
	w.ctl.Send(&workermsg.GuestEnded{ID: m.ID}, -1)
}
