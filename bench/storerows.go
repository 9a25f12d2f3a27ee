package main

import (
	"context"
	"fmt"
)

// storeRow is one line of the mail store's tables.
type storeRow struct {
	name   string
	title  string
	driver string // Rookery's
	fsync  string // "never", or "" for the default and Dovecot's always
	family string // rows that differ in size only, for the table of growth
	n      int    // messages or folders
	owner  int    // user, where rows of a family do not share one
	write  bool   // syncs and written bytes are counted
	bytes  bool   // the figure is bytes, not time
	// constant rows cost the same whatever the size.
	constant bool
	goal     goal
	plugin   string // that Dovecot needs for it
	million  bool   // measured only with --million
	middle   bool   // left away by --quick
	seed     func(context.Context, *bed) error
	measure  func(context.Context, *bed) (outcome, error)
}

// goal is what a row is to reach; zero values ask for nothing.
type goal struct {
	Ratio float64 `json:"ratio,omitempty"` // times better than the first peer
	Most  float64 `json:"most,omitempty"`  // of the figure itself: bytes
	CPU   float64 `json:"cpu,omitempty"`   // of the server's time for an operation: microseconds
	Time  float64 `json:"time,omitempty"`  // of the figure itself, the slowest hundredth of it: microseconds
}

// peers are the rigs of a row: ours, the one that it is compared with, and one
// more that is shown.
func (r *storeRow) peers() []rigKey {
	like := map[string]string{"pack": "mdbox"}[r.driver]
	if like == "" {
		like = r.driver
	}
	keys := []rigKey{{server: "rookery", driver: r.driver, fsync: r.fsync}}
	if r.write && r.fsync == "" {
		return append(keys, rigKey{server: "dovecot", driver: like, fsync: "always"}, rigKey{server: "dovecot", driver: like})
	}
	return append(keys, rigKey{server: "dovecot", driver: like, fsync: r.fsync, plugin: r.plugin})
}

const (
	envelope = "ENVELOPE"
	bodies   = "BODYSTRUCTURE"
	// headers is what a client asks for that makes its own list of messages.
	headers     = "BODY.PEEK[HEADER.FIELDS (DATE SUBJECT FROM TO CC MESSAGE-ID IN-REPLY-TO REFERENCES CONTENT-TYPE LIST-ID)]"
	headersSign = "BODY[HEADER.FIELDS ("
)

func sizeName(n int) string {
	switch {
	case n == 0:
		return "empty"
	case n >= 1_000_000:
		return fmt.Sprintf("%dm", n/1_000_000)
	case n >= 1000:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

// sizeText is for titles: 100,000.
func sizeText(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// grow makes a row for each size, the goal standing at the last but for a million.
func grow(proto storeRow, sizes ...int) []storeRow {
	var rows []storeRow
	top := 0
	for _, n := range sizes {
		if n <= 100_000 {
			top = max(top, n)
		}
	}
	for i, n := range sizes {
		r := proto
		r.family, r.n = proto.name, n
		r.name = fmt.Sprintf("%s-%s", proto.name, sizeName(n))
		r.title = fmt.Sprintf("%s, %s", proto.title, sizeText(n))
		if n != top && !r.constant {
			r.goal = goal{}
		}
		r.million = n > 100_000
		r.middle = i > 0 && n < top
		rows = append(rows, r)
	}
	return rows
}

func storeRows() []storeRow {
	rows := readRows()
	for _, fsync := range []string{"never", ""} {
		rows = append(rows, appendRows("maildir", fsync)...)
		rows = append(rows, changeRows("maildir", fsync)...)
	}
	for _, driver := range []string{"pack", "mbox"} {
		for _, fsync := range []string{"never", ""} {
			rows = append(rows, appendRows(driver, fsync)...)
		}
	}
	rows = append(rows, mboxRows()...)
	return append(rows, figureRows()...)
}

func readRows() []storeRow {
	read := storeRow{driver: "maildir", seed: seedReader}
	with := func(name, title string, g goal, measure func(context.Context, *bed) (outcome, error)) storeRow {
		r := read
		r.name, r.title, r.goal, r.measure = name, title, g, measure
		return r
	}
	constant := with("select", "SELECT with index", goal{Ratio: 2, CPU: 300}, selectIndexed)
	constant.constant = true
	rows := grow(constant, 1000, 10_000, 100_000, 1_000_000)
	rows = append(rows, grow(with("select-noindex", "SELECT without index, new process", goal{Ratio: 3}, selectUnindexed), 1000, 10_000, 100_000)...)
	rows = append(rows, grow(with("flags", "FETCH 1:* (FLAGS)", goal{Ratio: 8}, fetching("FLAGS", "FLAGS (")), 1000, 10_000, 100_000, 1_000_000)...)
	for _, f := range []struct{ name, items, sign, title string }{
		{"envelope", envelope, "ENVELOPE (", "ENVELOPE"}, {"structure", bodies, "BODYSTRUCTURE (", "BODYSTRUCTURE"}, {"headers", headers, headersSign, "ten header fields"},
	} {
		rows = append(rows, grow(with(f.name, "FETCH "+f.title+", cached", goal{Ratio: 10}, fetching(f.items, f.sign)), 1000, 10_000, 100_000)...)
		rows = append(rows, grow(with(f.name+"-uncached", "FETCH "+f.title+", not cached", goal{Ratio: 2.5}, fetchingUncached(f.items, f.sign)), 1000, 10_000, 100_000)...)
	}
	rows = append(rows, grow(with("search-subject", "SEARCH SUBJECT", goal{Ratio: 6}, searching("SUBJECT "+subjectWord, func(n int) int { s, _ := wordCounts(n); return s })), 1000, 10_000, 100_000)...)
	rows = append(rows, grow(with("search-body", "SEARCH BODY", goal{Ratio: 4}, searching("BODY "+bodyWord, func(n int) int { _, b := wordCounts(n); return b })), 1000, 10_000)...)
	all := func(n int) int { return n }
	for _, f := range []struct{ name, command string }{{"sort-date", "SORT (DATE)"}, {"sort-subject", "SORT (SUBJECT)"}, {"thread", "THREAD REFERENCES"}} {
		rows = append(rows, grow(with(f.name, f.command, goal{Ratio: 6}, asking(f.command+" UTF-8 ALL", all)), 1000, 10_000, 100_000)...)
	}
	rows = append(rows, grow(with("resync", "SELECT with QRESYNC, 100 changes", goal{Ratio: 2}, resync), 1000, 10_000, 100_000)...)
	for _, f := range []struct {
		name, title, service string
		goal                 float64
	}{{"body-plain", "FETCH body of 50 MB, plain", "imap", 1}, {"body-tls", "FETCH body of 50 MB, TLS", "imaps", 1.5}} {
		r := with(f.name, f.title, goal{Ratio: f.goal}, fetchBody(f.service))
		r.seed, r.n = seedBig, bigSize
		rows = append(rows, r)
	}
	for _, clients := range []int{1, 10} {
		r := with(fmt.Sprintf("noop-%d", clients), fmt.Sprintf("NOOP, %s", clientsText(clients)), goal{Ratio: 2}, noop(clients))
		r.n = 1000
		rows = append(rows, r)
	}
	rows = append(rows, lineRows()...)
	return append(rows, folderRows()...)
}

// folderRows have a user for each row, from firstOwner on.
func folderRows() []storeRow {
	const firstOwner = 81
	var rows []storeRow
	for i, f := range []struct {
		name, title string
		goal        float64
		seed        func(context.Context, *bed) error
		measure     func(context.Context, *bed) (outcome, error)
		owner       int
		sizes       [2]int
	}{
		{"status", "STATUS of all folders", 3, seedFolders, statusAll, 0, [2]int{100, 1000}},
		{"folders", "LIST of all folders", 3, seedNames, listAll, 2, [2]int{1000, 10_000}},
		{"pop3-list", "POP3 login, STAT, LIST, UIDL", 3, seedPOP3, popList, 4, [2]int{1000, 10_000}},
		{"pop3-retr", "POP3 login, RETR of all", 2, seedPOP3, popAll, 4, [2]int{1000, 10_000}},
	} {
		for k, r := range grow(storeRow{name: f.name, title: f.title, driver: "maildir", goal: goal{Ratio: f.goal}, seed: f.seed, measure: f.measure}, f.sizes[0], f.sizes[1]) {
			r.owner = firstOwner + f.owner + k
			r.middle = i >= 0 && k == 0 // --quick makes the larger as small as this
			rows = append(rows, r)
		}
	}
	return rows
}

func clientsText(n int) string {
	if n == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", n)
}

// durability is how names and titles say what a write row waits for.
func durability(fsync string) (suffix, text string) {
	if fsync == "never" {
		return "-nosync", "no syncs"
	}
	return "-durable", "durable"
}

func appendRows(driver, fsync string) []storeRow {
	suffix, text := durability(fsync)
	prefix, like := "append", ""
	if driver != "maildir" {
		prefix, like = driver+"-append", driver+": "
	}
	goalOf := func(ratio float64) goal {
		switch driver {
		case "pack":
			return goal{Ratio: 4}
		case "mbox":
			return goal{}
		}
		return goal{Ratio: ratio}
	}
	base := storeRow{driver: driver, fsync: fsync, write: true, seed: seedAppend}
	var rows []storeRow
	sizes := []int{0}
	if driver == "maildir" {
		sizes = []int{0, 1000, 10_000, 100_000, 1_000_000}
	}
	one := base
	one.constant = true
	one.name, one.title, one.goal = prefix+"-1"+suffix, like+"APPEND 4 KB, 1 client, "+text+", to a folder of", goalOf(3)
	one.measure = appending(appendWay{clients: 1, size: 4096, batch: 1})
	rows = append(rows, grow(one, sizes...)...)
	for _, f := range []struct {
		name, title string
		ratio       float64
		way         appendWay
	}{
		{"-10", "APPEND 4 KB, 10 clients, one folder, ", 3, appendWay{clients: 10, size: 4096, batch: 1}},
		{"-users", "APPEND 4 KB, ten users at once, ", 2, appendWay{clients: 10, users: true, size: 4096, batch: 1}},
		{"-multi", "MULTIAPPEND of 20 of 4 KB, ", 3, appendWay{clients: 1, size: 4096, batch: 20}},
		{"-1mb", "APPEND 1 MB, ", 1.5, appendWay{clients: 1, size: 1 << 20, batch: 1}},
	} {
		r := base
		r.name, r.title, r.goal, r.measure = prefix+f.name+suffix, like+f.title+text, goalOf(f.ratio), appending(f.way)
		rows = append(rows, r)
	}
	return rows
}

func changeRows(driver, fsync string) []storeRow {
	suffix, text := durability(fsync)
	var rows []storeRow
	for _, clients := range []int{1, 10} {
		flag := `\Flagged`
		if clients > 1 {
			flag = `\Answered`
		}
		for _, f := range []struct {
			name, title string
			measure     func(context.Context, *bed) (outcome, error)
		}{
			{"store", "STORE of a flag", storing(clients, flag)},
			{"copy", "COPY of a message", copying(clients)},
			{"move", "MOVE of a message", moving(clients)},
			{"expunge", "EXPUNGE of a message", expunging(clients)},
		} {
			rows = append(rows, grow(storeRow{
				name: fmt.Sprintf("%s-%d%s", f.name, clients, suffix), title: fmt.Sprintf("%s, %s, %s, folder of", f.title, clientsText(clients), text),
				driver: driver, fsync: fsync, write: true, constant: true, goal: goal{Ratio: 4}, seed: seedWriter, measure: f.measure,
			}, 1000, 100_000)...)
		}
	}
	return rows
}

// mboxRows: what there is no goal for, but must not be slow either.
func mboxRows() []storeRow {
	var rows []storeRow
	for _, f := range []struct {
		name, title string
		measure     func(context.Context, *bed) (outcome, error)
	}{
		{"mbox-select", "mbox: SELECT with index", selectIndexed},
		{"mbox-flags", "mbox: FETCH 1:* (FLAGS)", fetching("FLAGS", "FLAGS (")},
		{"mbox-envelope", "mbox: FETCH ENVELOPE, cached", fetching(envelope, "ENVELOPE (")},
		{"mbox-search-body", "mbox: SEARCH BODY", searching("BODY "+bodyWord, func(n int) int { _, b := wordCounts(n); return b })},
	} {
		rows = append(rows, grow(storeRow{name: f.name, title: f.title, driver: "mbox", seed: seedReader, measure: f.measure}, 1000, 10_000)...)
	}
	rows = append(rows, grow(storeRow{name: "mbox-store-1-durable", title: "mbox: STORE of a flag, 1 client, durable, folder of", driver: "mbox", write: true,
		seed: seedWriter, measure: storing(1, `\Flagged`)}, 1000)...)
	return append(rows, grow(storeRow{name: "mbox-expunge-1-durable", title: "mbox: EXPUNGE of a message, 1 client, durable, folder of", driver: "mbox", write: true,
		seed: seedWriter, measure: expunging(1)}, 1000)...)
}
