package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"
)

// letter is one message as it lies on disk in a Maildir, with LF for line ends.
type letter struct {
	text    []byte
	base    string // base name, as Dovecot's own delivery writes it, sizes in it
	flags   string // Maildir flags
	sent    time.Time
	subject string
}

// corpus makes letters, the same ones from the same number on every machine.
// Sizes are those of a personal mailbox: two of three are below 4 KB, one of
// twenty is between 12 and 40 KB; every fifth is multipart, and threads of up to
// eight go through the mailbox.
type corpus struct {
	small bool // 500 bytes each, for a million
	first int  // number of the first one
}

// subjectWord is in the subject of every hundredth message, bodyWord in the
// body of every hundredth other one.
const (
	subjectWord = "zanzibar"
	bodyWord    = "quicksilver"
)

// epoch is when the first letter was sent; each is some minutes after the other.
var epoch = time.Date(2019, 3, 1, 8, 0, 0, 0, time.UTC)

var words = [...]string{"meeting", "budget", "draft", "the", "report", "of", "and", "customer", "please", "see", "attached", "server", "invoice",
	"about", "week", "next", "plan", "release", "with", "question", "for", "update", "schedule", "holiday", "was", "travel", "build", "is", "failed",
	"order", "number", "confirmed", "list", "review", "a", "to", "in", "notes", "contract", "offer", "you", "we", "will", "have", "not", "this", "that"}

var people = [...]string{"Ann Archer", "Bertil Borg", "Chiara Conti", "Dmitri Dolin", "Emma Eklund", "Fatima Farouk", "Georg Graf", "Hana Horak",
	"Ines Ibarra", "Jonas Juhl", "Kaya Kaplan", "Lea Lang", "Mario Melo", "Nadia Novak", "Olle Orre", "Pia Peters"}

// letter makes message n, counted from 0.
func (c corpus) letter(n int) letter {
	n += c.first
	r := rand.New(rand.NewPCG(uint64(n), 77))
	l := letter{sent: epoch.Add(time.Duration(n)*7*time.Minute + time.Duration(r.IntN(400))*time.Second), flags: flagsOf(r)}
	thread, place := n/8, n%8
	if n%3 == 0 {
		place = 0 // a letter without an answer
	}
	l.subject = sentence(rand.New(rand.NewPCG(uint64(thread), 5)), 3+thread%5)
	if n%100 == 17 {
		l.subject += " " + subjectWord
	}
	var b bytes.Buffer
	c.header(&b, r, l, n, place)
	size := bodySize(r)
	if c.small {
		size = 100
	}
	if n%5 == 0 && !c.small {
		multipart(&b, r, n, size)
	} else {
		b.WriteString("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n")
		prose(&b, r, size)
	}
	if n%100 == 42 {
		b.WriteString("It was all " + bodyWord + " in the end.\n")
	}
	l.text = b.Bytes()
	crlf := len(l.text) + bytes.Count(l.text, []byte("\n"))
	l.base = fmt.Sprintf("%d.M%06dP%d.bench,S=%d,W=%d", l.sent.Unix(), n%1000000, 1000+n%30000, len(l.text), crlf)
	return l
}

// header writes what a message that came over two hops has, without an end.
func (c corpus) header(b *bytes.Buffer, r *rand.Rand, l letter, n, place int) {
	from, to := people[r.IntN(len(people))], people[r.IntN(len(people))]
	date := l.sent.Format("Mon, 02 Jan 2006 15:04:05 -0700")
	fmt.Fprintf(b, "Return-Path: <%s>\n", mailOf(from))
	if !c.small {
		for hop := range 2 {
			fmt.Fprintf(b, "Received: from mx%d.example.org (mx%d.example.org [192.0.2.%d])\n\tby hub%d.example.net (Postfix) with ESMTPS id %X\n\tfor <%s>; %s\n",
				r.IntN(9), r.IntN(9), r.IntN(250), hop, r.Uint64(), mailOf(to), date)
		}
		fmt.Fprintf(b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\n\th=from:to:subject:date:message-id; bh=%x;\n\tb=%x%x%x%x\n",
			r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
	}
	re := ""
	if place > 0 {
		re = "Re: "
	}
	fmt.Fprintf(b, "Date: %s\nFrom: %s <%s>\nTo: %s <%s>\n", date, from, mailOf(from), to, mailOf(to))
	if n%4 == 0 {
		cc := people[r.IntN(len(people))]
		fmt.Fprintf(b, "Cc: \"%s\" <%s>, team@example.com\n", cc, mailOf(cc))
	}
	fmt.Fprintf(b, "Subject: %s%s\nMessage-ID: <m%d@example.org>\n", re, l.subject, n)
	if place > 0 {
		fmt.Fprintf(b, "In-Reply-To: <m%d@example.org>\nReferences:", n-1)
		for i := n - place; i < n; i++ {
			fmt.Fprintf(b, " <m%d@example.org>", i)
		}
		b.WriteString("\n")
	}
	b.WriteString("MIME-Version: 1.0\nUser-Agent: Letterbox/3.1\n")
}

func mailOf(person string) string {
	return string(person[0]|0x20) + person[bytes.IndexByte([]byte(person), ' ')+1:] + "@example.org"
}

// multipart is a text in two forms, and for some an attachment.
func multipart(b *bytes.Buffer, r *rand.Rand, n, size int) {
	mark := fmt.Sprintf("=_part_%d_%x", n, r.Uint32())
	fmt.Fprintf(b, "Content-Type: multipart/alternative; boundary=\"%s\"\n\nThis is a message in several parts.\n", mark)
	fmt.Fprintf(b, "--%s\nContent-Type: text/plain; charset=utf-8\n\n", mark)
	prose(b, r, size/3)
	fmt.Fprintf(b, "--%s\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<html><body><p>\n", mark)
	prose(b, r, size*2/3)
	fmt.Fprintf(b, "</p></body></html>\n--%s--\n", mark)
}

func bodySize(r *rand.Rand) int {
	switch p := r.IntN(100); {
	case p < 70:
		return 300 + r.IntN(3000)
	case p < 95:
		return 3000 + r.IntN(9000)
	default:
		return 12000 + r.IntN(28000)
	}
}

// prose writes lines of words, size bytes or some more.
func prose(b *bytes.Buffer, r *rand.Rand, size int) {
	for end := b.Len() + size; b.Len() < end; {
		for column := 0; column < 66; {
			w := words[r.IntN(len(words))]
			b.WriteString(w)
			b.WriteByte(' ')
			column += len(w) + 1
		}
		b.WriteByte('\n')
	}
}

func sentence(r *rand.Rand, n int) string {
	var b bytes.Buffer
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

func flagsOf(r *rand.Rand) string {
	switch p := r.IntN(100); {
	case p < 60:
		return "S"
	case p < 75:
		return "RS"
	case p < 80:
		return "FS"
	default:
		return ""
	}
}

// wire is the letter as a client sends it: CRLF.
func (l letter) wire() []byte { return bytes.ReplaceAll(l.text, []byte("\n"), []byte("\r\n")) }

// sized is a message of about so many bytes as a client sends it, of lines of
// 76 characters, number n in its header.
func sized(n, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Date: Tue, 03 Mar 2020 10:00:00 +0000\nFrom: Ann <ann@example.org>\nTo: Bo <bo@example.org>\nSubject: sized %d\nMessage-ID: <sized%d@example.org>\n\n", n, n)
	r := rand.New(rand.NewPCG(uint64(n), 9))
	prose(&b, r, max(0, size-b.Len()))
	return bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\r\n"))
}
