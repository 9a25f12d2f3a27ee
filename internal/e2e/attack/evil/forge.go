package main

import (
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/ipc/logmsg"
)

// forgeLog writes lines that would be another's: by their prefix, by line ends
// within the text, by control characters, with an address as a failure.
func forgeLog() error {
	for _, e := range []logmsg.Event{
		{Prefix: "auth", Text: "forged 1: in authd's name"},
		{Prefix: "imap-login", Text: "Disconnected (auth failed, 1 attempts in 2 secs): user=<forged-2>, method=PLAIN, rip=203.0.113.9, lip=127.0.0.1, session=<x>"},
		{Prefix: "master", Text: "forged 3: before\nNov 21 10:00:00 dovecot: auth: forged 3: after a line end"},
		{Prefix: "a\nNov 21 10:00:00 dovecot: auth", Text: "forged 4: in the prefix"},
		{Session: "s\ndovecot: auth: forged 5", Text: "forged 5: in the session"},
		{Text: "forged 6: \x1b[2J\x00\r and U+202E \u202e"},
		{Text: "forged 7: key", KV: []logmsg.Field{{Key: "pid\nauth: forged 7", Value: "1\ndovecot: auth: forged 7"}}},
	} {
		e.Level, e.Time = logmsg.Error, time.Now()
		if err := unix.Sendmsg(child.FDLog, encode(logmsg.Protocol, &e), nil, nil, unix.MSG_NOSIGNAL); err != nil {
			return err
		}
	}
	return nil
}
