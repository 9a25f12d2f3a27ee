package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/sandbox"
)

// evilAuthd grants everybody everything and answers master with records that
// master must not follow. A user's name says which.
type evilAuthd struct {
	ctl     *ipc.Conn
	granted chan string // the user of the next ticket
}

func runAuthd() error {
	env, err := child.Inherit(child.Authd)
	if err != nil {
		return err
	}
	a := &evilAuthd{granted: make(chan string, 1000)}
	if a.ctl, err = ipc.NewConn(env.Control, redeemmsg.Protocol, ipc.FromClient); err != nil {
		return err
	}
	if _, err := ipc.NewConn(env.Log, logmsg.Protocol, ipc.FromClient); err != nil {
		return err
	}
	if _, err := sandbox.Enter(sandbox.Authd, sandbox.Options{Root: env.Root, Strict: env.Strict}); err != nil {
		return err
	}
	if err := a.ctl.Send(&redeemmsg.Ready{}, -1); err != nil {
		return err
	}
	for {
		m, fd, err := a.ctl.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		a.message(m, fd)
	}
}

func (a *evilAuthd) message(m ipc.Message, fd int) {
	switch m := m.(type) {
	case *redeemmsg.Attach:
		if conn, err := ipc.NewConn(fd, authmsg.Protocol, ipc.FromServer); err == nil {
			go a.serve(conn)
		}
		return
	case *redeemmsg.File:
		if m.Use == "certificate" {
			a.ctl.Send(pair(m.Pair, fd), -1)
		}
	case *redeemmsg.Settings:
		a.ctl.Send(&redeemmsg.SettingsDone{Generation: m.Generation}, -1)
	case *redeemmsg.Redeem:
		a.redeem(m)
	case *redeemmsg.Lookup:
		a.ctl.Send(&redeemmsg.Failed{ID: m.ID}, -1)
	}
	if fd >= 0 {
		unix.Close(fd)
	}
}

// pair says of a certificate file that all is well.
func pair(number uint64, fd int) *redeemmsg.PairChecked {
	checked := &redeemmsg.PairChecked{Pair: number, NotAfter: time.Now().Add(time.Hour)}
	text := make([]byte, 64<<10)
	n, err := unix.Pread(fd, text, 0)
	if err != nil {
		checked.Problem = err.Error()
		return checked
	}
	for rest := text[:n]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		checked.Chain = append(checked.Chain, block.Bytes)
	}
	if len(checked.Chain) == 0 {
		checked.Problem = "no certificate"
		return checked
	}
	leaf, err := x509.ParseCertificate(checked.Chain[0])
	if err != nil {
		checked.Problem = err.Error()
		return checked
	}
	checked.SPKI = sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	switch leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		checked.KeyType = 1
	case *ecdsa.PublicKey:
		checked.KeyType = 2
	case ed25519.PublicKey:
		checked.KeyType = 3
	}
	return checked
}

func (a *evilAuthd) serve(conn *ipc.Conn) {
	defer conn.Close()
	conn.Send(&authmsg.Welcome{Mechanisms: []authmsg.Mechanism{{Name: "PLAIN", Plaintext: true}, {Name: "LOGIN", Plaintext: true}}, APOPPrefix: "1"}, -1)
	for {
		m, _, err := conn.Recv()
		if err != nil {
			return
		}
		begin, ok := m.(*authmsg.Begin)
		if !ok {
			continue
		}
		_, rest, _ := strings.Cut(string(begin.Initial.Reveal()), "\x00")
		user, _, _ := strings.Cut(rest, "\x00")
		a.granted <- user
		conn.Send(&authmsg.Granted{ID: begin.ID, User: user}, -1)
	}
}

// redeem answers with the record that the user's name stands for.
func (a *evilAuthd) redeem(m *redeemmsg.Redeem) {
	user := <-a.granted
	env, err := target()
	r := redeemmsg.Record{User: user, UID: uint32(env.UID), GID: uint32(env.UID), Home: env.Home, Mech: "PLAIN"}
	switch user {
	case "uid-0":
		r.UID = 0
	case "gid-0":
		r.GID = 0
	case "uid-of-a-system-user":
		r.UID = 42
	case "uid-too-large":
		r.UID = 1<<32 - 1
	case "group-shadow":
		r.Groups = []string{"shadow", "root", "disk", "docker"}
	case "home-of-root":
		r.Home = "/root"
	case "mail-in-etc":
		r.Fields = []string{"mail_path=/etc"}
	case "order":
		a.order()
	}
	if err == nil {
		a.ctl.Send(&redeemmsg.Redeemed{ID: m.ID, Record: r}, -1)
	}
	// Answers that nobody asked for change nothing.
	a.ctl.Send(&redeemmsg.Redeemed{ID: m.ID, Record: redeemmsg.Record{User: "twice", UID: 0}}, -1)
	a.ctl.Send(&redeemmsg.Redeemed{ID: m.ID + 1000, Record: redeemmsg.Record{User: "unasked", UID: 0}}, -1)
}

// order tries the catalogue and writes forged lines; the summary goes to the
// log, which is all the way out that authd has.
func (a *evilAuthd) order() {
	text := try(func(env *attack.Env) {
		env.Own = "/"
		env.Streams, env.Listeners = nil, nil
	})
	e := logmsg.Event{Level: logmsg.Error, Time: time.Now(), Text: "summary " + strings.TrimSpace(string(text))}
	if err := unix.Sendmsg(child.FDLog, encode(logmsg.Protocol, &e), nil, nil, unix.MSG_NOSIGNAL); err != nil {
		os.Exit(70)
	}
	if err := forgeLog(); err != nil {
		os.Exit(70)
	}
}
