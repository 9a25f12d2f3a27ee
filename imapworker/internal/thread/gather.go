package thread

// gather joins the threads that have one subject (RFC 5256 §3, THREAD, step 5).
// Each thread's subject is asked before any is joined with another.
func (f *Forest) gather() {
	table := make(map[string]int32, len(f.roots)) // (5.A)
	for _, n := range f.roots {                   // (5.B)
		subject := f.subject(n)
		if subject == "" {
			continue
		}
		old, there := table[subject]
		if !there || !f.dummy(old) && (f.dummy(n) || f.reply(old) && !f.reply(n)) {
			table[subject] = n
		}
	}
	for _, n := range f.roots { // (5.C)
		subject := f.subject(n)
		if subject == "" {
			continue
		}
		if old := table[subject]; old != n {
			table[subject] = f.join(old, n)
		}
	}
	f.keepRoots()
}

func (f *Forest) subject(n int32) string { return f.msgs[f.first(n)].Subject }

// reply reports whether n is a reply or a forward; a dummy is none.
func (f *Forest) reply(n int32) bool { return !f.dummy(n) && f.msgs[n].Reply }

// join puts the thread n to that of the subject table, and gives what stands in
// the table then.
func (f *Forest) join(old, n int32) int32 {
	switch {
	case f.dummy(old) && f.dummy(n):
		for _, c := range f.children(n) {
			f.detach(c)
			f.attach(c, old)
		}
		f.nodes[n].dead = true
	case f.dummy(old), f.reply(n) && !f.reply(old):
		f.attach(n, old)
	default:
		both := f.add()
		f.attach(old, both)
		f.attach(n, both)
		f.roots = append(f.roots, both)
		return both
	}
	return old
}

// keepRoots leaves those that are still at the top.
func (f *Forest) keepRoots() {
	kept := f.roots[:0]
	for _, n := range f.roots {
		if f.nodes[n].parent == none && !f.nodes[n].dead {
			kept = append(kept, n)
		}
	}
	f.roots = kept
}
