// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>The nodes used last, by id; at most <see cref="Capacity"/> of about 3 KiB. Safe from any thread.</summary>
internal sealed class NodeCache
{
    public const int Capacity = 4096;
    private readonly Lock _gate = new();
    private readonly Dictionary<BlobId, LinkedListNode<(BlobId Id, TreeNode Node)>> _byId = [];
    private readonly LinkedList<(BlobId Id, TreeNode Node)> _byUse = new();

    public TreeNode? Find(in BlobId id)
    {
        lock (_gate)
        {
            if (!_byId.TryGetValue(id, out var entry))
                return null;
            _byUse.Remove(entry);
            _byUse.AddFirst(entry);
            return entry.Value.Node;
        }
    }

    public void Add(in BlobId id, TreeNode node)
    {
        lock (_gate)
        {
            if (_byId.ContainsKey(id))
                return;
            _byId.Add(id, _byUse.AddFirst((id, node)));
            if (_byId.Count <= Capacity)
                return;
            _byId.Remove(_byUse.Last!.Value.Id);
            _byUse.RemoveLast();
        }
    }
}
