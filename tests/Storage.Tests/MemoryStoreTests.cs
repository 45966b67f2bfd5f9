// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage.Tests;

public sealed class MemoryStoreTests : StoreContract
{
    private readonly MemoryStore _store = new();

    protected override IObjectStore Open() => _store;
}
