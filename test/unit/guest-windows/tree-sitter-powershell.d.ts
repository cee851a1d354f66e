// The package names a folder as its types, which a module import does not resolve.
declare module 'tree-sitter-powershell' {
  const language: import('tree-sitter').Language
  export default language
}
