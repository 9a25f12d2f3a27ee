package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rookery/imapworker"
	"rookery/internal/acl"
	"rookery/internal/child"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/remote"
	"rookery/internal/numset"
	"rookery/internal/worker"
)

// honest are users whose processes are the real ones: whose mail is aimed at.
func honest(user string) bool {
	return strings.HasPrefix(user, "u19@") || strings.HasPrefix(user, "u20@")
}

func honestServer(h *worker.Host) (worker.Server, error) { return imapworker.Program().New(h) }

// Guest takes guests in and says nothing.
func (e evilServer) Guest(g *worker.Guest) {
	defer unix.Close(g.FD)
	<-g.End
}

// SharesChanged is for worker.GuestServer.
func (evilServer) SharesChanged() {}

// guestFindings is what a guest came by.
type guestFindings struct {
	Answers map[string]string // how each call that is not granted ended
	Leaks   []string          // what held the mark of what was not granted, or a descriptor
	Calls   int
	Ends    int // channels that the owner's process ended
}

func (e evilServer) reach(owner string) (int, error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		fd, err := e.host.Reach(ctx, owner)
		cancel()
		if !errkind.Is(err, errkind.Limit) {
			return fd, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func kindOf(err error) string {
	if err == nil {
		return "done"
	}
	return errkind.Of(err).String()
}

// sharesText is what this process is told that others share.
func (e evilServer) sharesText() []byte {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	boxes, err := e.host.Shares(ctx)
	out := fmt.Sprint(kindOf(err))
	for _, b := range boxes {
		out += " " + b.Owner + ":" + b.Name
	}
	return []byte(out)
}

// forgeShares says in raw packets what a worker must not: what another shares, that
// it has guests, answers and questions that are master's.
func (e evilServer) forgeShares(kind string) error {
	raw := func(p *ipc.Protocol, m ipc.Message) error {
		return unix.Sendmsg(child.FDControl, encode(p, m), nil, nil, unix.MSG_NOSIGNAL)
	}
	boxes := []redeemmsg.Published{{Name: "MARK", Entries: []string{"user=u2@example.test lrswipkxtea"}}}
	switch kind {
	case "another's name":
		return raw(redeemmsg.Protocol, &redeemmsg.Publish{Owner: "u19@example.test", Source: 1, First: true, Last: true, Boxes: boxes})
	case "a guest":
		return raw(workermsg.Protocol, &workermsg.Guest{ID: 1, User: "u19@example.test"})
	case "end of another's guest":
		return raw(workermsg.Protocol, &workermsg.GuestEnded{ID: 1})
	case "reached":
		return raw(workermsg.Protocol, &workermsg.Reached{ID: 1})
	case "visit":
		return raw(redeemmsg.Protocol, &redeemmsg.Visit{ID: 1, Guest: "u5@example.test", Owner: "u20@example.test"})
	case "a flood":
		for range 1000 {
			if err := raw(workermsg.Protocol, &workermsg.Publish{First: true, Last: true, Boxes: boxes}); err != nil {
				return err
			}
		}
	case "many questions":
		for i := range uint64(1000) {
			if err := raw(workermsg.Protocol, &workermsg.Reach{ID: 1e6 + i%3, Owner: "u20@example.test"}); err != nil {
				return err
			}
		}
	case "parts": // the middle and the end of a list that was never begun
		for range 5 {
			if err := raw(workermsg.Protocol, &workermsg.Publish{Last: true, Boxes: boxes}); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("nothing is called %q", kind)
	}
	return nil
}

// visit tries all that a guest could at an owner who grants lr in "Open" and l in
// "Seen"; mark is in all else that he has.
func (e evilServer) visit(owner, mark string) []byte {
	f := guestFindings{Answers: map[string]string{}}
	fd, err := e.reach(owner)
	if err == nil {
		e.calls(&f, fd, mark)
		err = e.brute(&f, owner, mark)
	}
	if err != nil {
		f.Answers["reach"] = kindOf(err)
	}
	text, err := json.Marshal(f)
	if err != nil {
		return []byte("{}")
	}
	return text
}

// calls uses the guest's end as it is meant to, for what is not granted.
func (e evilServer) calls(f *guestFindings, fd int, mark string) {
	c, err := remote.NewClient(fd, remote.ClientOptions{Timeout: 20 * time.Second})
	if err != nil {
		f.Answers["client"] = err.Error()
		return
	}
	defer c.Close()
	say := func(what string, v any, err error) {
		f.Calls++
		f.Answers[what] = kindOf(err)
		if strings.Contains(fmt.Sprintf("%+v %v", v, err), mark) {
			f.Leaks = append(f.Leaks, what)
		}
	}
	list, err := c.List()
	names := []string{}
	for _, b := range list {
		if b.Attrs&mailstore.NonExistent == 0 {
			names = append(names, b.Name)
		}
	}
	slices.Sort(names)
	say("list: "+strings.Join(names, " "), list, err)
	secret := mark + "-box"
	for _, name := range []string{secret, "INBOX", "Seen", "None", "../Open", "Open/../" + secret} {
		_, err := c.Open(name)
		say("open "+name, nil, err)
		_, err = c.Append(name)
		say("append "+name, nil, err)
		st, err := c.Status(name, mailstore.StatusWant{})
		say("status "+name, st, err)
		say("delete "+name, nil, c.Delete(name))
		say("rename "+name, nil, c.Rename(name, "Mine"))
		say("rename to "+name, nil, c.Rename("Open", name))
		_, err = c.Create(name+"/below", 0)
		say("create below "+name, nil, err)
		l, err := c.GetACL(name)
		say("getacl "+name, l, err)
		n, err := c.SharedNotes(name)
		say("annotations "+name, n, err)
		_, err = c.SetSharedNotes(name, []mailstore.Annotation{{Entry: "/shared/comment", Value: []byte("x")}})
		say("annotate "+name, nil, err)
		say("setacl "+name, nil, c.SetACL(name, acl.ID{Kind: acl.User, Name: "u2@example.test"}, acl.Change{Op: '+', Rights: acl.All}))
	}
	_, err = c.SetSharedNotes("Open", []mailstore.Annotation{{Entry: "/shared/x"}, {Entry: "/private/comment"}})
	say("annotate the owner's own", nil, err)
	told, _, err := c.SharedNotesSince(0)
	say("list: annotations since", told, err)
	box, err := c.Open("Open")
	if err != nil {
		f.Answers["open Open"] = kindOf(err)
		return
	}
	defer box.Close()
	if _, err := box.Sync(); err != nil {
		f.Answers["sync Open"] = kindOf(err)
	}
	all := numset.Of(1, 2, 3)
	_, err = box.Store(mailstore.FlagChange{UIDs: all, Op: mailstore.AddFlags, Flags: mailstore.Seen | mailstore.Deleted})
	say("store", nil, err)
	_, err = box.Expunge(all)
	say("expunge", nil, err)
	_, err = box.Copy(all, secret)
	say("copy to secret", nil, err)
	_, err = box.Copy(all, "Open")
	say("copy", nil, err)
	_, err = box.Move(all, secret)
	say("move", nil, err)
}

// brute sends raw calls of every number with all sorts of arguments, on as many
// channels as the owner's process ends.
func (e evilServer) brute(f *guestFindings, owner, mark string) error {
	rnd := rand.New(rand.NewPCG(7, 19))
	text := func(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }
	tokens := [][]byte{{0}, {1}, {2}, {3}, {1, 1}, {1, 0, 1}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0xff}, text(mark + "-box"), text("Open"), text("INBOX"), text("Seen"), text("")}
	secret := text(mark + "-box")
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	// What calls take: each decoder refuses all but its own, and that ends the channel.
	shapes := [][]byte{{}, {1}, secret, join(secret, []byte{1}), join(text("Open"), secret), join([]byte{1}, secret), {1, 1},
		{1, 0, 1}, join([]byte{1, 1, 1, 2}, secret), join(secret, []byte{1}, text("/shared/comment"), []byte{1}, text("y"))}
	for op := uint8(0); op < 40; op++ {
		for channel := range shapes {
			fd, err := e.reach(owner)
			if err != nil {
				return err
			}
			conn, err := ipc.NewConn(fd, remote.Protocol, ipc.FromClient)
			if err != nil {
				return err
			}
			r := &rawGuest{conn: conn, f: f, mark: mark}
			ok := r.call(15, text("Open")) == nil // a handle that is granted
			for try := 0; ok && try < 50; try++ {
				args := []byte{}
				if try < 2 {
					args = shapes[channel]
				}
				for range rnd.IntN(4) * min(try, 1) {
					args = append(args, tokens[rnd.IntN(len(tokens))]...)
				}
				ok = r.call(op, args) == nil
			}
			if !ok {
				f.Ends++
			}
			conn.Close()
		}
	}
	return nil
}

type rawGuest struct {
	conn *ipc.Conn
	f    *guestFindings
	mark string
}

// call sends one call and takes the whole answer.
func (r *rawGuest) call(op uint8, args []byte) error {
	r.f.Calls++
	if err := r.conn.Send(&remote.Call{ID: 1, Op: op, Data: args}, -1); err != nil {
		return err
	}
	for {
		r.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		m, _, err := r.conn.Recv()
		if err != nil {
			if strings.Contains(err.Error(), "descriptor") {
				r.f.Leaks = append(r.f.Leaks, fmt.Sprintf("call %d %x: %v", op, args, err))
			}
			return err
		}
		switch m := m.(type) {
		case *remote.Answer:
			if strings.Contains(string(m.Data), r.mark) {
				r.f.Leaks = append(r.f.Leaks, fmt.Sprintf("call %d %x: %q", op, args, m.Data))
			}
			if !m.More {
				return nil
			}
			if err := r.conn.Send(&remote.More{ID: m.ID}, -1); err != nil {
				return err
			}
		case *remote.Ping:
			if err := r.conn.Send(&remote.Pong{}, -1); err != nil {
				return err
			}
		}
	}
}
