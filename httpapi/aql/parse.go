package aql

import (
	"fmt"
	"slices"
	"strings"
)

// Parse reads a query. The error says what is wrong with it and where, and is fit to
// be shown to a user.
func Parse(text string) (*Query, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("the query is longer than %d KiB", MaxText>>10)
	}
	p := &parser{lexer: lexer{text: text}}
	q, err := p.query()
	if err != nil {
		return nil, fmt.Errorf("the query can't be read, at character %d: %w", p.at+1, err)
	}
	return q, nil
}

type parser struct {
	lexer
	criteria int
	reads    bool // a criterion is about a property
	builds   []*buildTest
}

func (p *parser) query() (*Query, error) {
	domain := p.word()
	if domain != "items" || !p.next('.') || p.word() != "find" || !p.next('(') {
		return nil, fmt.Errorf("it does not begin with items.find(: there are items only")
	}
	q := &Query{fields: map[string]bool{}}
	if !p.peek(')') {
		of, err := p.object(0)
		if err == nil {
			of, err = p.joinBuilds(of)
		}
		if err != nil {
			return nil, err
		}
		q.where = group{of: of}
	}
	if !p.next(')') {
		return nil, fmt.Errorf("the object of find is not followed by )")
	}
	if err := p.suffixes(q); err != nil {
		return nil, err
	}
	p.next(';')
	if !p.end() {
		return nil, fmt.Errorf("something follows the query")
	}
	q.readsProperties, q.builds = p.reads, p.builds
	if len(q.fields) == 0 {
		for _, f := range defaults {
			q.fields[f] = true
		}
	}
	return q, nil
}

// suffixes reads what follows find, each at most once.
func (p *parser) suffixes(q *Query) error {
	seen := map[string]bool{}
	for p.next('.') {
		name := p.word()
		read, ok := map[string]func(*Query) error{
			"include": p.include, "sort": p.sort, "offset": p.offset, "limit": p.limit,
			"transitive": func(*Query) error { return nil }, // what is not here is not looked for elsewhere
		}[name]
		switch {
		case !ok:
			return fmt.Errorf("%s is none of include, sort, offset, transitive, limit", quote(name))
		case seen[name]:
			return fmt.Errorf("%s stands twice", name)
		case !p.next('('):
			return fmt.Errorf("%s is not followed by (", name)
		}
		seen[name] = true
		if err := read(q); err != nil {
			return err
		}
		if !p.next(')') {
			return fmt.Errorf("what %s has is not followed by )", name)
		}
	}
	return nil
}

// object reads {…} and returns what it has. Of each key all values count.
func (p *parser) object(depth int) (of []criterion, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("there are more than %d objects in each other", maxDepth)
	}
	if !p.next('{') {
		return nil, fmt.Errorf("here should be an object")
	}
	for first := true; !p.next('}'); first = false {
		if !first && !p.next(',') {
			return nil, fmt.Errorf("here should be , or }")
		}
		key, err := p.str()
		if err != nil {
			return nil, err
		}
		if !p.next(':') {
			return nil, fmt.Errorf("there is no : behind the key %s", quote(key))
		}
		if p.criteria++; p.criteria > maxCriteria {
			return nil, fmt.Errorf("there are more than %d criteria", maxCriteria)
		}
		c, err := p.value(key, depth)
		if err != nil {
			return nil, err
		}
		of = append(of, c)
	}
	return of, nil
}

// value reads what a key of an object has.
func (p *parser) value(key string, depth int) (criterion, error) {
	switch {
	case key == "$and":
		return p.list(false, depth)
	case key == "$or":
		return p.list(true, depth)
	case strings.HasPrefix(key, "$"):
		return nil, fmt.Errorf("%s is no criterion that is known here: fields, @ with the key of a property, $and and $or are", quote(key))
	case !p.peek('{'):
		return p.test(key, opEq)
	}
	p.next('{')
	all := group{}
	for first := true; first || p.next(','); first = false {
		name, err := p.str()
		if err != nil {
			return nil, err
		}
		if p.criteria++; p.criteria > maxCriteria {
			return nil, fmt.Errorf("there are more than %d criteria", maxCriteria)
		}
		if o := op(name); !o.known() || !p.next(':') {
			return nil, fmt.Errorf("%s is no operator with a value: they are %s", quote(name), operators)
		}
		c, err := p.test(key, op(name))
		if err != nil {
			return nil, err
		}
		all.of = append(all.of, c)
	}
	if !p.next('}') {
		return nil, fmt.Errorf("here should be , or }")
	}
	if len(all.of) == 1 {
		return all.of[0], nil
	}
	return all, nil
}

// list reads [{…},…] of $and or $or: a group of all that is in its objects.
func (p *parser) list(any bool, depth int) (criterion, error) {
	g := group{any: any}
	if !p.next('[') {
		return nil, fmt.Errorf("$and and $or have a list of objects")
	}
	for first := true; !p.next(']'); first = false {
		if !first && !p.next(',') {
			return nil, fmt.Errorf("here should be , or ]")
		}
		of, err := p.object(depth + 1)
		if err == nil && any {
			of, err = p.joinBuilds(of)
		}
		if err != nil {
			return nil, err
		}
		g.of = append(g.of, of...)
	}
	if len(g.of) == 0 {
		return nil, fmt.Errorf("$and and $or have at least one criterion")
	}
	var err error
	if !any {
		g.of, err = p.joinBuilds(g.of)
	}
	return g, err
}

// test reads a value, and returns the test of a field against it.
func (p *parser) test(key string, o op) (criterion, error) {
	value, err := p.scalar()
	if err != nil {
		return nil, err
	}
	if o == opMatch || o == opNmatch {
		value = plainPattern(value)
	}
	if property, ok := strings.CutPrefix(key, "@"); ok && property != "" {
		p.reads = true
		return propertyTest{plainPattern(property), o, value}, nil
	}
	if part, ok, err := buildPartOf(key, o, value); ok {
		return part, err
	}
	f, err := fieldNamed(key)
	if err != nil {
		return nil, err
	}
	at := &Item{}
	switch {
	case f.text != nil:
		if key == "type" && value == anyType && o == opEq {
			return group{}, nil
		}
		return textTest{f, o, value}, nil
	case o == opMatch && value == "*":
		return group{}, nil
	case o == opMatch || o == opNmatch:
		return nil, fmt.Errorf("%s is for texts, and %s is none", o, key)
	case f.number != nil:
		at.Size, err = parseNumber(value)
	default:
		at.Created, err = parseTime(value)
		at.Modified = at.Created
	}
	return orderTest{f, o, at}, err
}

// plainPattern returns a pattern that matches what p does, without runs of *.
func plainPattern(p string) string {
	for strings.Contains(p, "**") {
		p = strings.ReplaceAll(p, "**", "*")
	}
	return p
}

func fieldNamed(name string) (field, error) {
	f, ok := fields[name]
	if f.name = name; !ok {
		return f, fmt.Errorf("a criterion about %s is not known here; fields are repo, path, name, type, size, created, modified, updated, created_by, modified_by, sha256, @ with the key of a property, and artifact.module.build and dependency.module.build with .name and .number", quote(name))
	}
	return f, nil
}

// include reads the fields of the answer.
func (p *parser) include(q *Query) error {
	return p.names(func(name string) error {
		property, isProperty := strings.CutPrefix(name, "@")
		_, known := fields[name]
		switch {
		case isProperty && property != "":
			q.properties = append(q.properties, property)
		case name == "property" || name == "property.*":
			q.properties = append(q.properties, "*")
		case name == "*":
			for f := range fields {
				q.fields[f] = true
			}
			for _, f := range shown {
				q.fields[f] = true
			}
		case known || slices.Contains(shown, name):
			q.fields[name] = true
		default:
			return fmt.Errorf("an answer can't include %s", quote(name))
		}
		return nil
	})
}

// sort reads the order of the answer.
func (p *parser) sort(q *Query) error {
	if !p.next('{') {
		return fmt.Errorf("sort has an object")
	}
	direction, err := p.str()
	if err != nil {
		return err
	}
	if direction != "$asc" && direction != "$desc" || !p.next(':') || !p.next('[') {
		return fmt.Errorf(`sort has {"$asc":[…]} or {"$desc":[…]}`)
	}
	err = p.names(func(name string) error {
		f, err := fieldNamed(name)
		q.order = append(q.order, order{f, direction == "$desc"})
		return err
	})
	if err == nil && (!p.next(']') || !p.next('}')) {
		err = fmt.Errorf("sort does not end in ]}")
	}
	return err
}

func (p *parser) offset(q *Query) (err error) {
	q.Offset, err = p.count()
	return err
}

func (p *parser) limit(q *Query) (err error) {
	q.Limit, err = p.count()
	return err
}
