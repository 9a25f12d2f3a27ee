package vfs

// WithoutOpenat2 gives the tree as on a kernel that lacks it.
func WithoutOpenat2(o *OS) *OS {
	n := newOS(o.root, o.boot)
	n.noOpen.Store(true)
	return n
}
