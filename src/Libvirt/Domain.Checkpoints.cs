// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

[Flags]
public enum CheckpointCreateFlags
{
    None = 0,
    Redefine = 1, // VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE: the bitmaps exist
    Validate = 4, // VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE: and are checked; running machines only
}

[Flags]
public enum CheckpointDeleteFlags
{
    None = 0,
    Children = 1, // VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN
    MetadataOnly = 2, // bitmaps stay in the images
    ChildrenOnly = 4,
}

[Flags]
public enum CheckpointXmlFlags
{
    None = 0,
    Secure = 1, // VIR_DOMAIN_CHECKPOINT_XML_SECURE
    NoDomain = 2, // the form that can be redefined on another host
    Size = 4, // with the bytes written since; running machines only
}

public sealed partial class Domain
{
    /// <summary>Names of all checkpoints, parents before their children.</summary>
    public Task<IReadOnlyList<string>> ListCheckpointsAsync(CancellationToken cancellationToken = default) =>
        CallAsync<IReadOnlyList<string>>(
            "list the checkpoints of",
            (domain, what) => LibvirtErrors.Require(CheckpointNative.List(domain, 2), what), // VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL
            cancellationToken);

    /// <summary>
    /// The documents of all checkpoints without the machine's definition, parents before their children; one that goes meanwhile is left
    /// out.
    /// </summary>
    public Task<IReadOnlyList<string>> ReadCheckpointsAsync(CancellationToken cancellationToken = default) =>
        CallAsync<IReadOnlyList<string>>(
            "read the checkpoints of",
            (domain, what) => LibvirtErrors.Require(
                CheckpointNative.ListXml(domain, 2, (uint)CheckpointXmlFlags.NoDomain), what), // VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL
            cancellationToken);

    /// <summary>Makes a checkpoint, or records one whose bitmaps exist; returns its name.</summary>
    public Task<string> CreateCheckpointAsync(
        string xml, CheckpointCreateFlags flags = CheckpointCreateFlags.None, CancellationToken cancellationToken = default) =>
        CallAsync(
            "create a checkpoint of",
            (domain, what) =>
            {
                using var checkpoint = LibvirtErrors.Require(CheckpointNative.Create(domain, xml, (uint)flags), what);
                return LibvirtErrors.Require(CheckpointNative.GetName(checkpoint), what);
            },
            cancellationToken);

    public Task<bool> HasCheckpointAsync(string name, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"find checkpoint '{name}' of",
            (domain, what) =>
            {
                using var checkpoint = CheckpointNative.LookupByName(domain, name, 0);
                if (!checkpoint.IsInvalid)
                    return true;
                var error = LibvirtErrors.Create(what);
                return error is LibvirtNotFoundException ? false : throw error;
            },
            cancellationToken);

    /// <summary>Deletes a checkpoint with its bitmaps.</summary>
    /// <exception cref="LibvirtNotFoundException">There is no such checkpoint.</exception>
    public Task DeleteCheckpointAsync(
        string name, CheckpointDeleteFlags flags = CheckpointDeleteFlags.None, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"delete checkpoint '{name}' of",
            name,
            (checkpoint, what) => LibvirtErrors.Require(CheckpointNative.Delete(checkpoint, (uint)flags), what),
            cancellationToken);

    /// <exception cref="LibvirtNotFoundException">There is no such checkpoint.</exception>
    public Task<string> GetCheckpointXmlAsync(
        string name, CheckpointXmlFlags flags = CheckpointXmlFlags.NoDomain, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"read checkpoint '{name}' of",
            name,
            (checkpoint, what) => LibvirtErrors.Require(CheckpointNative.GetXml(checkpoint, (uint)flags), what),
            cancellationToken);

    /// <summary>Name of the parent; null for a root.</summary>
    /// <exception cref="LibvirtNotFoundException">There is no such checkpoint.</exception>
    public Task<string?> GetCheckpointParentAsync(string name, CancellationToken cancellationToken = default) =>
        CallAsync(
            $"find the parent of checkpoint '{name}' of",
            name,
            (checkpoint, what) =>
            {
                using var parent = CheckpointNative.GetParent(checkpoint, 0);
                if (!parent.IsInvalid)
                    return CheckpointNative.GetName(parent);
                var error = LibvirtErrors.Create(what);
                return error is LibvirtNotFoundException ? null : throw error;
            },
            cancellationToken);

    private Task<T> CallAsync<T>(
        string verb, string checkpointName, Func<CheckpointHandle, string, T> call, CancellationToken cancellationToken) =>
        CallAsync(
            verb,
            (domain, what) =>
            {
                using var checkpoint = LibvirtErrors.Require(CheckpointNative.LookupByName(domain, checkpointName, 0), what);
                return call(checkpoint, what);
            },
            cancellationToken);
}
