package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox/sandboxtest/inside"
)

// login answers TLS clients on the inherited listener, each with an echo, and
// passes envelopes over the channel extra[1].
func login(spec inside.Spec, extra []int, end time.Time, start func(string, func() error)) error {
	f := os.NewFile(uintptr(extra[0]), "listener")
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	f.Close()
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	start("TLS clients", func() error {
		if err := l.(*net.TCPListener).SetDeadline(end); err != nil {
			return err
		}
		conn, err := l.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		return echo(conn.(*net.TCPConn), conf)
	})
	start("envelopes", func() error { return envelope(extra[1]) })
	return nil
}

func echo(tcp *net.TCPConn, conf *tls.Config) error {
	defer tcp.Close()
	if err := tcp.SetNoDelay(true); err != nil {
		return err
	}
	conn := tls.Server(tcp, conf)
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.Copy(conn, conn); err != nil {
		return err
	}
	return conn.Close()
}

// envelope makes a socketpair and passes one end through the channel.
func envelope(ch int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	err = unix.Sendmsg(ch, []byte("envelope"), unix.UnixRights(pair[1]), nil, unix.MSG_NOSIGNAL)
	unix.Close(pair[1])
	if err != nil {
		return err
	}
	buf, oob := make([]byte, 16), make([]byte, 128)
	_, oobn, _, _, err := unix.Recvmsg(ch, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	return closeRights(oob[:oobn])
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
