package settings

// Nearest is the candidate that needs the fewest edits (insert, delete,
// replace, swap of neighbours) to become word, if that is few enough to be a
// slip: a third of the length, at most 4. "" if none is near.
func Nearest(word string, candidates []string) string {
	if len(word) > 100 {
		return ""
	}
	best, bestCost := "", min(4, max(1, len(word)/3))+1
	for _, c := range candidates {
		if cost := editCost(word, c); cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best
}

// editCost is the optimal string alignment distance.
func editCost(a, b string) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
