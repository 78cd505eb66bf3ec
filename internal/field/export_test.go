// export_test.go: what tests of this package look at from outside.

package field

const KeyBatch = keyBatch

var (
	KeptIn     = keptIn
	FieldKinds = fieldKinds
)
