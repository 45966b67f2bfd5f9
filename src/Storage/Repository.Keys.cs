// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A key slot as people see it.</summary>
public sealed record KeyInfo(string Slot, string Kind, string Label, DateTimeOffset Created);

public sealed partial class Repository
{
    /// <summary>Adds a slot: <paramref name="added"/> opens the repository too from now on. Needs one that opens it already.</summary>
    /// <exception cref="WrongKeyException"><paramref name="existing"/> opens no slot.</exception>
    /// <exception cref="InvalidOperationException">The repository is not encrypted.</exception>
    public async Task AddKeyAsync(Credentials existing, Credentials added, string label, CancellationToken cancellationToken)
    {
        if (!IsEncrypted)
            throw new InvalidOperationException("The repository is not encrypted; it has no keys.");
        var master = await FindMasterAsync(_context.Store, Id, existing, cancellationToken);
        var init = new InitOptions { Credentials = added, Label = label };
        await PutSlotAsync(_context.Store, master, Id, init, _context.Clock, cancellationToken);
    }

    /// <summary>The slots of this repository, oldest first.</summary>
    public async Task<IReadOnlyList<KeyInfo>> ListKeysAsync(CancellationToken cancellationToken)
    {
        var keys = new List<KeyInfo>();
        await foreach (var info in _context.Store.ListAsync(ObjectNames.Keys, cancellationToken))
        {
            if (await _context.Store.TryReadAllAsync(info, MaxSlot, cancellationToken) is { } content
                && ParseSlot(content) is { } slot && slot.Repository == Id.ToString("N"))
                keys.Add(new KeyInfo(
                    info.Key[ObjectNames.Keys.Length..], slot.Kdf == "keyfile" ? "key file" : "password", slot.Label, slot.Created));
        }

        return [.. keys.OrderBy(key => key.Created)];
    }
}
