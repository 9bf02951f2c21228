package httpapi

import (
	"maps"
	"slices"

	"registry-node/events"
)

// searched is the answer to a query. The results come first: the JFrog CLI stops
// reading behind the first object in it.
type searched struct {
	Results []searchResult `json:"results"`
	Range   searchRange    `json:"range"`
}

type searchRange struct {
	Start int `json:"start_pos"`
	End   int `json:"end_pos"`
	Total int `json:"total"`
	Limit int `json:"limit,omitempty"`
}

// searchResult is an item with the fields that a query wants.
type searchResult struct {
	Repo         string           `json:"repo,omitempty"`
	Path         string           `json:"path,omitempty"`
	Name         string           `json:"name,omitempty"`
	Type         string           `json:"type,omitempty"`
	Size         *int64           `json:"size,omitempty"`
	Created      string           `json:"created,omitempty"`
	CreatedBy    string           `json:"created_by,omitempty"`
	Modified     string           `json:"modified,omitempty"`
	ModifiedBy   string           `json:"modified_by,omitempty"`
	Updated      string           `json:"updated,omitempty"`
	OriginalMD5  string           `json:"original_md5,omitempty"`
	OriginalSHA1 string           `json:"original_sha1,omitempty"`
	ActualMD5    string           `json:"actual_md5,omitempty"`
	ActualSHA1   string           `json:"actual_sha1,omitempty"`
	SHA256       string           `json:"sha256,omitempty"`
	Properties   []searchProperty `json:"properties,omitempty"`
}

type searchProperty struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// answer returns what the client is told of what was found.
func (f *search) answer() (searched, error) {
	a := searched{Results: []searchResult{}}
	for _, n := range f.found[min(f.query.Offset, len(f.found)):] {
		r, err := f.result(n)
		if err != nil {
			return a, err
		}
		a.Results = append(a.Results, r)
	}
	// Nothing is counted but what is shown.
	a.Range = searchRange{f.query.Offset, f.query.Offset + len(a.Results), len(a.Results), f.query.Limit}
	return a, nil
}

func (f *search) result(n found) (r searchResult, err error) {
	if n.item.File == events.ZipFile {
		if n.sums, err = f.sumsOf(n.item); err != nil {
			return r, err
		}
	}
	created := formatTime(n.Created)
	for field, set := range map[string]struct {
		to    *string
		value string
	}{
		"repo": {&r.Repo, n.Repo}, "path": {&r.Path, n.Path}, "name": {&r.Name, n.Name}, "type": {&r.Type, "file"},
		"created": {&r.Created, created}, "modified": {&r.Modified, created}, "updated": {&r.Updated, created},
		"created_by": {&r.CreatedBy, n.CreatedBy}, "modified_by": {&r.ModifiedBy, n.CreatedBy}, "sha256": {&r.SHA256, n.sums.SHA256},
		"actual_md5": {&r.ActualMD5, n.sums.MD5}, "original_md5": {&r.OriginalMD5, n.sums.MD5},
		"actual_sha1": {&r.ActualSHA1, n.sums.SHA1}, "original_sha1": {&r.OriginalSHA1, n.sums.SHA1},
	} {
		if f.query.Wants(field) {
			*set.to = set.value
		}
	}
	if f.query.Wants("size") {
		r.Size = &n.Size
	}
	for _, key := range slices.Sorted(maps.Keys(n.Properties)) {
		if !f.query.WantsProperty(key) {
			continue
		}
		for _, v := range n.Properties[key] {
			r.Properties = append(r.Properties, searchProperty{key, v})
		}
	}
	return r, nil
}
