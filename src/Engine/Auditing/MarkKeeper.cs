// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Engine.Auditing;

/// <summary>
/// What a later point says of earlier ones is written into the labels of those, which live as long as they do. Done before anything is
/// deleted, so that no mark goes with the point that told of it; two who delete at once both write all that either could take away.
/// </summary>
internal static class MarkKeeper
{
    /// <param name="repository">Whose points get labels, deleted ones as long as they can be brought back.</param>
    /// <param name="machine">Only points of this machine; null for all.</param>
    /// <param name="others">Points that are not there and know of those which are: their copies would say that they were copied.</param>
    /// <param name="cancellationToken">Ends it; what was written stays, and is right.</param>
    public static async Task KeepAsync(
        Repository repository, MachineId? machine, IReadOnlyList<RestorePoint> others, CancellationToken cancellationToken)
    {
        var points = (await repository.ListUnexpiredAsync(machine, cancellationToken)).Points;
        var marked = PointMarks.Mark([.. points, .. others]);
        foreach (var (point, mark) in points.Zip(marked))
        {
            var news = mark.Disks.Zip(point.Disks).Where(pair => pair.First.Doubt is not null && pair.First.Doubt != pair.Second.Doubt)
                .Select(pair => KeyValuePair.Create(pair.First.Name, pair.First.Doubt!)).ToList();
            if (news.Count > 0)
                await repository.LabelAsync(point.MachineId, point.Id, label => label.With(news), cancellationToken);
        }
    }
}
