// Peers plays our transcripts to Debian's Dovecot and Cyrus and says where they answer
// otherwise.
//
// scripts/peers builds and runs it, as root, since the servers it starts need users of
// their own. It starts both on loopback ports with a configuration in a temporary folder,
// and ends them by their process ids. For each transcript it makes a user, seeds the
// mailboxes that the transcript supposes by APPEND, sends what the client sends, and
// compares. docs/PEERS.md is written from the differences and from peers/judged.txt,
// which says of each who is right by the text.
//
//	peers [--only dovecot|cyrus] [--match SUBSTRING] [--write docs/PEERS.md] [--show]
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"rookery/internal/peers"
)

func main() {
	only := flag.String("only", "", "one of the peers")
	match := flag.String("match", "", "only transcripts whose name has this in it")
	write := flag.String("write", "", "write the page to this file")
	show := flag.Bool("show", false, "print each difference without judgement, and each in words")
	flag.Parse()
	if err := run(*only, *match, *write, *show); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(only, match, write string, show bool) error {
	text, err := os.ReadFile("peers/judged.txt")
	if err != nil {
		return err
	}
	judged, err := peers.ReadJudgements(string(text))
	if err != nil {
		return err
	}
	scripts, err := transcripts(match)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/var/tmp", "rookery-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	var reports []peers.Report
	for _, start := range []struct {
		name string
		f    func(dir string) (*server, error)
	}{{"dovecot", startDovecot}, {"cyrus", startCyrus}} {
		if only != "" && only != start.name {
			continue
		}
		s, err := start.f(filepath.Join(dir, start.name))
		if err != nil {
			return fmt.Errorf("%s: %w", start.name, err)
		}
		report, err := s.playAll(scripts)
		s.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", start.name, err)
		}
		reports = append(reports, report)
	}
	for _, r := range reports {
		if show {
			fmt.Print(r.Differences(judged), r.OtherWords())
		}
		fmt.Print(r.Summary(judged))
	}
	if write != "" {
		return os.WriteFile(write, []byte(peers.Page(reports, judged)), 0o644)
	}
	return nil
}

// script is a transcript by the name that the page has for it.
type script struct {
	name, folder, text string
}

// folders are those of the transcripts that other servers can be asked: what other users
// may do, and what belongs to our settings, is no matter of theirs.
var folders = []struct{ name, path string }{
	{"session", "imapworker/internal/session/testdata"},
	{"fetch", "imapworker/internal/fetch/testdata"},
	{"search", "imapworker/internal/search/testdata"},
	{"sorting", "imapworker/internal/sorting/testdata"},
}

func transcripts(match string) (all []script, err error) {
	for _, f := range folders {
		err := filepath.WalkDir(f.path, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".txt" || strings.HasPrefix(d.Name(), "maildir_") {
				return err
			}
			name := f.name + strings.TrimPrefix(path, f.path)
			if !strings.Contains(name, match) {
				return nil
			}
			text, err := os.ReadFile(path)
			all = append(all, script{name, f.path, string(text)})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// playAll plays the transcripts, some at a time, each as a user of its own.
func (s *server) playAll(scripts []script) (peers.Report, error) {
	report := peers.Report{Peer: s.name, Title: s.title}
	words, err := s.words()
	if err != nil {
		return report, err
	}
	results := make([][]peers.Outcome, len(scripts))
	var wait sync.WaitGroup
	next := make(chan int)
	for range 6 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range next {
				results[i] = s.play(scripts[i], fmt.Sprintf("t%03d", i), words)
			}
		}()
	}
	for i := range scripts {
		next <- i
	}
	close(next)
	wait.Wait()
	for _, r := range results {
		report.Outcomes = append(report.Outcomes, r...)
	}
	return report, nil
}
