#include "atrous/io/pickle.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "atrous/io/safetensors_header.h"

namespace atrous::io {
namespace {

enum class Kind : std::uint8_t {
  none,
  number,   // an integer or a truth value: `a`
  opaque,   // something that tensors do not depend on
  text,     // `b` bytes of the pickle from `a` on
  tuple,    // container `a`
  list,     // container `a`
  dict,     // container `a`: keys and values by turns
  global,   // kGlobals[a]
  storage,  // storage `a`
  tensor    // tensor `a`
};

struct Value {
  Kind kind = Kind::none;
  std::int64_t a = 0, b = 0;
};

enum class Global { ordered_dict, rebuild_tensor, rebuild_parameter, storage, opaque };

struct GlobalName {
  const char* name;  // "module name", as the opcode has it
  Global what;
  ElementType type = ElementType::f32;  // of a storage
};
constexpr GlobalName kGlobals[] = {
    {"collections OrderedDict", Global::ordered_dict},
    {"torch._utils _rebuild_tensor_v2", Global::rebuild_tensor},
    {"torch._utils _rebuild_parameter", Global::rebuild_parameter},
    {"torch FloatStorage", Global::storage, ElementType::f32},
    {"torch DoubleStorage", Global::storage, ElementType::f64},
    {"torch HalfStorage", Global::storage, ElementType::f16},
    {"torch BFloat16Storage", Global::storage, ElementType::bf16},
    {"torch LongStorage", Global::storage, ElementType::i64},
    {"torch IntStorage", Global::storage, ElementType::i32},
    {"torch ByteStorage", Global::storage, ElementType::u8},
    // Scores that a training script kept beside the weights.
    {"numpy.core.multiarray scalar", Global::opaque},
    {"numpy._core.multiarray scalar", Global::opaque},
    {"numpy dtype", Global::opaque},
    {"_codecs encode", Global::opaque},
    {"torch Size", Global::opaque},
};

struct Storage {
  ElementType type;
  Value name;
  std::int64_t size;
};

struct Tensor {
  std::int64_t storage, offset;
  Value shape, stride;
};

class Machine {
 public:
  Machine(const FileReader& file, Span<const std::uint8_t> pickle, std::int64_t at, std::int64_t budget)
      : file_(file), pickle_(pickle), at_(at), budget_(budget) {}

  Value run() {
    while (true) {
      opcode_at_ = next_;
      const int opcode = byte();
      if (opcode == '.') break;
      step(opcode);
    }
    check(stack_.size() == 1 && marks_.empty(), "it ends with more than one value");
    return stack_.back();
  }

  PickledState state(const Value& root) {
    const Value dict = state_dict(root);
    PickledState state;
    const std::vector<Value>& pairs = items(dict);
    for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
      if (pairs[i].kind != Kind::text) continue;
      charge(std::int64_t(sizeof(PickledTensor)) + std::min(pairs[i].b, std::int64_t(kMaxNameBytes) + 1));
      if (pairs[i + 1].kind == Kind::tensor)
        state.tensors.push_back(described(pairs[i], tensors_[std::size_t(pairs[i + 1].a)]));
      else
        state.skipped.emplace_back(text(pairs[i]).substr(0, kMaxNameBytes + 1));
    }
    return state;
  }

 private:
  template <class... Pieces>
  [[noreturn]] void fail(const Pieces&... pieces) const {
    file_.fail("its pickle, at byte ", at_ + opcode_at_, ": ", pieces...);
  }
  template <class... Pieces>
  void check(bool condition, const Pieces&... pieces) const {
    if (!condition) fail(pieces...);
  }
  void charge(std::int64_t bytes) {
    check(bytes <= budget_, "its values would need more than twice the file's memory");
    budget_ -= bytes;
  }

  // Bytes of the program.
  std::int64_t take(std::int64_t count) {
    check(count >= 0 && count <= pickle_.size() - next_, "it is cut off");
    next_ += count;
    return next_ - count;
  }
  int byte() { return pickle_[take(1)]; }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, pickle_.data() + take(sizeof value), sizeof value);
    return value;
  }
  std::string_view line() {
    const std::int64_t begin = next_;
    while (byte() != '\n') check(next_ - begin <= std::int64_t(kMaxNameBytes), "a name of more than 1 KiB");
    return {reinterpret_cast<const char*>(pickle_.data()) + begin, std::size_t(next_ - 1 - begin)};
  }
  std::string_view text(const Value& v) const {
    return {reinterpret_cast<const char*>(pickle_.data()) + v.a, std::size_t(v.b)};
  }

  // The stack. A mark is the height that the stack had.
  void push(const Value& v) {
    charge(2 * sizeof(Value));
    stack_.push_back(v);
  }
  std::size_t bottom() const { return marks_.empty() ? 0 : marks_.back(); }
  Value pop() {
    check(stack_.size() > bottom(), "a value is missing");
    const Value v = stack_.back();
    stack_.pop_back();
    return v;
  }
  Value& top() {
    check(stack_.size() > bottom(), "a value is missing");
    return stack_.back();
  }
  std::vector<Value> pop_to_mark() {
    check(!marks_.empty(), "a mark is missing");
    std::vector<Value> values(stack_.begin() + std::ptrdiff_t(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return values;
  }
  Value container(Kind kind, std::vector<Value> values) {
    charge(std::int64_t(2 * sizeof(values) + 2 * sizeof(Value) * values.size()));
    containers_.push_back(std::move(values));
    return {kind, std::int64_t(containers_.size()) - 1};
  }
  const std::vector<Value>& items(const Value& v) const { return containers_[std::size_t(v.a)]; }
  void append(const Value& to, const std::vector<Value>& values) {
    charge(std::int64_t(2 * sizeof(Value) * values.size()));
    std::vector<Value>& all = containers_[std::size_t(to.a)];
    all.insert(all.end(), values.begin(), values.end());
  }

  void step(int opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        const int version = byte();
        check(version >= 2 && version <= 5, "it is of protocol ", version, "; 2 to 5 are read");
        return;
      }
      case 'c':
        return push_global();
      case 'N':
        return push({});
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        return push({Kind::number, opcode == 0x88});
      case 'K':
        return push({Kind::number, byte()});
      case 'M':
        return push({Kind::number, number<std::uint16_t>()});
      case 'J':
        return push({Kind::number, number<std::int32_t>()});
      case 0x8a:  // LONG1
        return push_long();
      case 'G':  // BINFLOAT
        take(8);
        return push({Kind::opaque});
      case 'X': {  // BINUNICODE
        const std::int64_t count = number<std::uint32_t>();
        return push({Kind::text, take(count), count});
      }
      case 'U':  // SHORT_BINSTRING, and bytes: of NumPy's scalars
      case 'C': {
        const std::int64_t count = byte();
        return push({Kind::text, take(count), count});
      }
      case '(':
        charge(sizeof(std::size_t) * 2);
        marks_.push_back(stack_.size());
        return;
      case ')':
        return push(container(Kind::tuple, {}));
      case 't':
        return push(container(Kind::tuple, pop_to_mark()));
      case 0x85:
      case 0x86:
      case 0x87: {  // TUPLE1, TUPLE2, TUPLE3
        std::vector<Value> values(std::size_t(opcode - 0x84));
        for (std::size_t i = values.size(); i > 0; --i) values[i - 1] = pop();
        return push(container(Kind::tuple, std::move(values)));
      }
      case ']':
        return push(container(Kind::list, {}));
      case '}':
        return push(container(Kind::dict, {}));
      case 'a':
        return append_to(Kind::list, {pop()});
      case 'e':
        return append_to(Kind::list, pop_to_mark());
      case 's': {
        const Value value = pop(), key = pop();
        return append_to(Kind::dict, {key, value});
      }
      case 'u':
        return append_to(Kind::dict, pop_to_mark());
      case 'q':
        return remember(byte());
      case 'r':
        return remember(number<std::uint32_t>());
      case 'h':
        return recall(byte());
      case 'j':
        return recall(number<std::uint32_t>());
      case 'Q':
        return push_storage();
      case 'R':
        return reduce();
      case 'b':
        return build();
      default:
        fail("opcode ", opcode,
             " is none of those that tensors need; only state dicts are read "
             "(torch.save(model.state_dict(), ...))");
    }
  }

  void push_global() {
    const std::string module(line()), name(line());
    const std::string full = module + " " + name;
    for (std::size_t i = 0; i < std::size(kGlobals); ++i)
      if (full == kGlobals[i].name) return push({Kind::global, std::int64_t(i)});
    fail("it wants ", printable(module + "." + name),
         "; only tensors and their containers are read (torch.save(model.state_dict(), ...))");
  }

  void push_long() {
    const int count = byte();
    check(count <= 8, "a number of ", count, " bytes");
    const std::int64_t begin = take(count);
    std::uint64_t value = 0;
    for (int i = 0; i < count; ++i) value |= std::uint64_t(pickle_[begin + i]) << (8 * i);
    if (count > 0 && count < 8 && pickle_[begin + count - 1] & 0x80)
      value |= ~std::uint64_t(0) << (8 * count);
    push({Kind::number, std::int64_t(value)});
  }

  void append_to(Kind kind, const std::vector<Value>& values) {
    check(top().kind == kind, "values are added to something that is no ",
          kind == Kind::dict ? "dict" : "list");
    check(kind != Kind::dict || values.size() % 2 == 0, "a key without a value");
    append(top(), values);
  }

  void remember(std::uint32_t index) {
    charge(64);
    memo_[index] = top();
  }
  void recall(std::uint32_t index) {
    const auto found = memo_.find(index);
    check(found != memo_.end(), "nothing was remembered as ", index);
    push(found->second);
  }

  const Global& global(const Value& v) const { return kGlobals[v.a].what; }
  bool is_integer(const Value& v) const { return v.kind == Kind::number; }

  // ('storage', torch.FloatStorage, '0', 'cpu', 1728)
  void push_storage() {
    const Value id = pop();
    check(id.kind == Kind::tuple && items(id).size() == 5, "a storage's key has not five parts");
    const std::vector<Value>& parts = items(id);
    check(parts[0].kind == Kind::text && text(parts[0]) == "storage" && parts[1].kind == Kind::global &&
              global(parts[1]) == Global::storage && parts[2].kind == Kind::text &&
              std::size_t(parts[2].b) <= kMaxNameBytes && is_integer(parts[4]) && parts[4].a >= 0,
          "a storage's key is not 'storage', type, name, device, size");
    charge(sizeof(Storage) * 2);
    storages_.push_back({kGlobals[parts[1].a].type, parts[2], parts[4].a});
    push({Kind::storage, std::int64_t(storages_.size()) - 1});
  }

  void reduce() {
    const Value arguments = pop(), callable = pop();
    check(callable.kind == Kind::global && arguments.kind == Kind::tuple,
          "something is called that cannot be");
    const std::vector<Value>& a = items(arguments);
    switch (global(callable)) {
      case Global::ordered_dict:
        check(a.empty(), "an OrderedDict is made of something");
        return push(container(Kind::dict, {}));
      case Global::rebuild_tensor:
        check(a.size() >= 4 && a[0].kind == Kind::storage && is_integer(a[1]) && a[2].kind == Kind::tuple &&
                  a[3].kind == Kind::tuple && items(a[2]).size() == items(a[3]).size(),
              "a tensor is not made of storage, offset, shape and stride");
        for (const Value& sizes : {a[2], a[3]})
          for (const Value& size : items(sizes))
            check(is_integer(size) && size.a >= 0, "a tensor's shape or stride is not made of sizes");
        check(a[1].a >= 0, "a tensor begins before its storage");
        charge(sizeof(Tensor) * 2);
        tensors_.push_back({a[0].a, a[1].a, a[2], a[3]});
        return push({Kind::tensor, std::int64_t(tensors_.size()) - 1});
      case Global::rebuild_parameter:
        check(!a.empty() && a[0].kind == Kind::tensor, "a parameter is not made of a tensor");
        return push(Value(a[0]));
      case Global::opaque:
        return push({Kind::opaque});
      case Global::storage:
        fail("a storage is called");
    }
  }

  // The state that an object gets behind its making: of an OrderedDict its attributes, which tensors do not
  // depend on.
  void build() {
    pop();
    check(top().kind == Kind::dict || top().kind == Kind::opaque,
          "a state is given to something without one");
  }

  bool has_tensor(const Value& dict) const {
    const auto& all = items(dict);
    for (std::size_t i = 1; i < all.size(); i += 2)
      if (all[i].kind == Kind::tensor) return true;
    return false;
  }

  Value state_dict(const Value& root) const {
    check(root.kind == Kind::dict,
          "it holds no dict of tensors by name (torch.save(model.state_dict(), ...))");
    if (has_tensor(root)) return root;
    for (const char* key : {"model", "state_dict", "model_state"})
      for (std::size_t i = 0; i + 1 < items(root).size(); i += 2) {
        const Value &name = items(root)[i], &value = items(root)[i + 1];
        if (name.kind == Kind::text && text(name) == key && value.kind == Kind::dict && has_tensor(value))
          return value;
      }
    fail("it holds no dict of tensors by name, neither by itself nor under model, state_dict or model_state");
  }

  PickledTensor described(const Value& name, const Tensor& t) const {
    const Storage& storage = storages_[std::size_t(t.storage)];
    PickledTensor tensor{.name = std::string(text(name).substr(0, kMaxNameBytes + 1)),
                         .storage = std::string(text(storage.name)),
                         .type = storage.type,
                         .storage_size = storage.size,
                         .offset = t.offset};
    for (const Value& size : items(t.shape)) tensor.shape.push_back(size.a);
    for (const Value& stride : items(t.stride)) tensor.stride.push_back(stride.a);
    return tensor;
  }

  const FileReader& file_;
  Span<const std::uint8_t> pickle_;
  std::int64_t at_, budget_, next_ = 0, opcode_at_ = 0;
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, Value> memo_;
  std::vector<std::vector<Value>> containers_;
  std::vector<Storage> storages_;
  std::vector<Tensor> tensors_;
};

}  // namespace

PickledState read_pickled_state(const FileReader& file, Span<const std::uint8_t> pickle, std::int64_t at,
                                std::int64_t budget) {
  Machine machine(file, pickle, at, budget);
  const Value root = machine.run();
  return machine.state(root);
}

}  // namespace atrous::io
