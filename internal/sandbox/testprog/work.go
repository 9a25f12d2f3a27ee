package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest/inside"
)

// work runs what the role does, over and over, for as long as the first
// argument says. extra[0] is the role's descriptor: login's listener, a
// worker's stream, the others' channel.
func work(spec inside.Spec, extra []int, counts map[string]int) error {
	d, err := time.ParseDuration(spec.Args[0])
	if err != nil {
		return err
	}
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	start := func(name string, f func() error) {
		wg.Go(func() {
			n := 0
			for time.Now().Before(end) {
				if err := f(); err != nil {
					errs <- fmt.Errorf("%s: %w", name, err)
					return
				}
				n++
			}
			mu.Lock()
			counts[name] = n
			mu.Unlock()
		})
	}
	start("memory", memory)
	start("threads", threads)
	switch spec.Role {
	case sandbox.Login:
		if err := login(spec, extra, end, start); err != nil {
			return err
		}
	case sandbox.IMAPWorker, sandbox.POP3Worker:
		dir := spec.Args[1]
		start("files", func() error { return files(dir) })
		if spec.Private {
			start("watch", func() error { return watch(dir) })
		}
		stream, err := fileConn(extra[0])
		if err != nil {
			return err
		}
		start("bodies", func() error { return bodies(dir, stream) })
	case sandbox.Authd:
		start("passwd-file", func() error { return readFile(spec.Args[1]) })
		start("channel", func() error { return channel(extra[0]) })
	case sandbox.Logd:
		start("log file", func() error { return logLine(extra[1]) })
		start("channel", func() error { return channel(extra[0]) })
	case sandbox.Dotlock:
		start("locks", func() error { return dotlock(spec.Args[1], extra[0]) })
	}
	wg.Wait()
	close(errs)
	return errors.Join(<-errs, <-errs)
}

var mu sync.Mutex

// memory makes garbage, collects it and gives it back.
func memory() error {
	var keep [][]byte
	for range 64 {
		keep = append(keep, make([]byte, 1<<20))
	}
	if _, err := rand.Read(keep[0]); err != nil {
		return err
	}
	runtime.GC()
	debug.FreeOSMemory()
	time.Sleep(100 * time.Millisecond)
	return nil
}

// threads makes some that end again.
func threads() error {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends
			time.Sleep(time.Millisecond)
		})
	}
	wg.Wait()
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	return nil
}

func fileConn(fd int) (net.Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "inherited")
	defer f.Close()
	return net.FileConn(f)
}

// channel says a word to the other end, with a descriptor, and hears it again.
func channel(fd int) error {
	if err := unix.Sendmsg(fd, []byte("word"), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL); err != nil {
		return err
	}
	buf, oob := make([]byte, 16), make([]byte, 128)
	n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil || string(buf[:n]) != "word" {
		return fmt.Errorf("channel: %q, %v", buf[:n], err)
	}
	return closeRights(oob[:oobn])
}

func closeRights(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return err
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	return nil
}

func readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.ReadAll(f); err != nil {
		return err
	}
	_, err = os.Stat(path)
	time.Sleep(time.Millisecond)
	return err
}

func logLine(fd int) error {
	if _, err := unix.Write(fd, []byte("a line "+time.Now().Local().String()+"\n")); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	return unix.Fsync(fd)
}
