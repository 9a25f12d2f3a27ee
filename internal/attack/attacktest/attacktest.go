// Package attacktest builds what the attacks aim at: a victim's files,
// sockets, shared memory and process.
//
// Tests only.
package attacktest

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/sandbox/sandboxtest"
	"rookery/internal/sandbox/sandboxtest/inside"
)

// World is what one run aims at. Each run has its own, since attempts that
// come through change it.
type World struct {
	Env     attack.Env
	Sockets []*os.File // for an attacker that inherits: two streams, two listeners, one MPTCP listener
	closers []io.Closer
}

// Secret is what the victim's files hold.
const Secret = "the victim's mail"

// New makes a world around the directory own, which is the attacker's, and
// other, which is the victim's and is there already. Sockets are made below base,
// which everybody can reach.
func New(t testing.TB, base, own, other string, victimUID int) *World {
	t.Helper()
	w := &World{Env: attack.Env{Own: own, Other: other, Link: filepath.Join(other, "a link"),
		Passwords: filepath.Join(other, "passwd-file"), Key: filepath.Join(other, "TLS key"),
		UnixPath: filepath.Join(base, "socket"), Abstract: filepath.Base(base)}}
	for _, a := range attack.Catalogue() {
		name := filepath.Join(other, filepath.Base(a.Name))
		must(t, os.WriteFile(name, []byte(Secret), 0o600))
		must(t, os.Chown(name, victimUID, victimUID))
	}
	must(t, os.Symlink("somewhere", w.Env.Link))
	must(t, os.Symlink(filepath.Join(other, "symbolic link, found"), filepath.Join(own, "trap")))
	w.openSockets(t)
	w.shareMemory(t)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *World) openSockets(t testing.TB) {
	t.Helper()
	target, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	path, err := net.Listen("unix", w.Env.UnixPath)
	must(t, err)
	must(t, os.Chmod(w.Env.UnixPath, 0o777))
	abstract, err := net.Listen("unix", "@"+w.Env.Abstract)
	must(t, err)
	w.Env.TCP, w.Env.UDP = target.Addr().String(), udp.LocalAddr().String()
	w.closers = []io.Closer{target, udp, path, abstract}
	t.Cleanup(func() {
		for _, c := range w.closers {
			c.Close()
		}
	})
	for range 2 {
		client, err := net.Dial("tcp4", target.Addr().String())
		must(t, err)
		accepted, err := target.Accept()
		must(t, err)
		f, err := accepted.(*net.TCPConn).File()
		must(t, err)
		accepted.Close()
		w.Sockets = append(w.Sockets, f)
		w.closers = append(w.closers, client, f)
	}
	for _, multipath := range []bool{false, false, true} {
		var conf net.ListenConfig
		conf.SetMultipathTCP(multipath)
		l, err := conf.Listen(context.Background(), "tcp4", "127.0.0.1:0")
		must(t, err)
		f, err := l.(*net.TCPListener).File()
		must(t, err)
		l.Close()
		w.Sockets = append(w.Sockets, f)
		w.closers = append(w.closers, f)
	}
}

func (w *World) shareMemory(t testing.TB) {
	t.Helper()
	w.Env.ShmKey = 0x526b0000 | os.Getpid()&0xffff
	id, err := unix.SysvShmGet(w.Env.ShmKey, 4096, unix.IPC_CREAT|0o666)
	must(t, err)
	t.Cleanup(func() { unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
}

// Victim starts the process that is attacked; prog is the attacker's program.
func (w *World) Victim(t testing.TB, prog string, uid int) {
	t.Helper()
	p := sandboxtest.Launch(t, sandboxtest.Start{Program: prog, UID: uint32(uid), NoCap: true, Spec: inside.Spec{Job: "victim"}})
	t.Cleanup(p.Kill)
	p.WaitReady()
	w.Env.VictimPID = p.PID()
}
